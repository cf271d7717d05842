"""Some functions of a host's file, which cannot be imported outside of its app. Part of record_hosts.py."""
import ast


def functions(path, names, scope, of=None):
    """The named functions, classes and assignments of a file, or methods of its class `of`, run in `scope`, which is returned."""
    tree = ast.parse(path.read_text())
    body = tree.body if of is None else next(node for node in tree.body if getattr(node, "name", None) == of).body
    tree.body = [node for node in body if getattr(node, "name", None) in names or
                 (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in names)]
    exec(compile(tree, str(path), "exec"), scope)
    missing = names - scope.keys()
    if missing:
        raise SystemExit(f"{path} has no {', '.join(sorted(missing))}")
    return scope
