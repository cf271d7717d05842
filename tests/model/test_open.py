#!/usr/bin/env python3
"""Protects opening a model through the plugin: every way in which config, tensors and tokenizer can disagree is an error or
a finding that names both sides; every stored type, prefix and offset gives the right numbers. usage: test_open.py PLUGIN MODEL
"""
import pathlib
import shutil
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "abi"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from python_host import LIBRARY, MODEL, main, penult, raises, test  # noqa: E402
import folders  # noqa: E402

ROOT = tempfile.mkdtemp(prefix="penult-open-")
ALL = ("raw", "projected", "normalised")
Q0 = "text_model.encoder.layers.0.self_attn.q_proj.weight"


def folder(name, **change):
    return str(folders.Folder(MODEL, ROOT, name, **change))


def opens(path, **options):
    return penult.Model(path, library=LIBRARY, **options)


def encode(path, pooled=ALL, prompts=("a photo of a cat", "dusk"), **options):
    with opens(path, **options) as model, penult.Session(model, threads=1, max_prompts=len(prompts)) as session:
        return session.encode(list(prompts), layers=(-2, -1), pooled=pooled)


def refuses(path, status, *words, **options):
    error = raises(penult.PenultError, lambda: opens(path, **options), *words)
    assert error.name == status, f"{error.name} and not {status}: {error}"
    return error


def same(a, b):
    for key in a.hidden:
        assert a.hidden[key].tobytes() == b.hidden[key].tobytes(), key
    for key in set(a.pooled) & set(b.pooled):
        assert a.pooled[key].tobytes() == b.pooled[key].tobytes(), key


def edit(name, change):
    def apply(tensors):
        tensors = dict(tensors)
        change(tensors, name)
        return tensors
    return apply


@test
def a_missing_tensor_is_named_and_all_are_reported():
    def drop(tensors):
        return {k: v for k, v in tensors.items() if "fc1" not in k}
    error = refuses(folder("missing", tensors=drop), "MISMATCH", "mlp.fc1", "missing", "config.json", "and 7 more")
    assert sum(f.severity == "error" for f in error.findings) == 8, error.findings


@test
def a_wrong_shape_names_both_sides():
    refuses(folder("shape", tensors=edit(Q0, lambda t, n: t.update({n: ("F16", t[n][1][:64])}))), "MISMATCH", Q0,
            "[64, 128]", "[128, 128]", "config.json")
    refuses(folder("rank", tensors=edit(Q0, lambda t, n: t.update({n: ("F16", t[n][1].reshape(-1))}))), "MISMATCH", Q0,
            "[16384]")
    refuses(folder("mlp", config={"intermediate_size": 256}), "MISMATCH", "[512, 128]", "[256, 128]")
    refuses(folder("positions", config={"max_position_embeddings": 76}), "MISMATCH", "[77, 128]", "[76, 128]")
    refuses(folder("layers", config={"num_hidden_layers": 5}), "MISMATCH", "layers.4.", "and 15 more")
    refuses(folder("many", config={"num_hidden_layers": 200}), "MISMATCH", "layers.4.", "and 3135 more")


@test
def fewer_blocks_than_the_file_are_used_and_the_rest_is_reported():
    with opens(folder("fewer", config={"num_hidden_layers": 3})) as model:
        assert model.info.layers == 3
        unused = [f for f in model.findings if "layers.3." in f.subject]
        assert len(unused) == 16 and all(f.severity == "warning" for f in unused), model.findings


@test
def a_wrong_dtype_is_named():
    refuses(folder("int", tensors=edit(Q0, lambda t, n: t.update({n: ("I64", t[n][1].astype(np.int64))}))), "MISMATCH", Q0,
            "I64", "F32")


@test
def extra_tensors_are_findings():
    def more(tensors):
        return {**tensors, "text_model.embeddings.position_ids": ("I64", np.arange(77).reshape(1, 77)),
                "logit_scale": ("F32", np.float32(2.6).reshape(())), "mystery": ("F32", np.zeros(3, np.float32)),
                "": ("F32", np.zeros(3, np.float32))}
    path = folder("extra", tensors=more)
    with opens(path) as model:
        severity = {f.subject: f.severity for f in model.findings}
    assert severity["text_model.embeddings.position_ids"] == "note"
    assert severity["logit_scale"] == "note"
    assert severity["mystery"] == severity['""'] == "warning"  # a finding has a subject, if the file gives none
    same(encode(path), encode(MODEL))


@test
def config_values_are_checked():
    refuses(folder("heads", config={"num_attention_heads": 3}), "MISMATCH", "num_attention_heads", "3", "128")
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
                "vocab_size", "hidden_act", "architectures"):
        refuses(folder("key", config={key: None}), "FORMAT", key, "missing")
        refuses(folder("key", config={key: {}}), "FORMAT", key)
        refuses(folder("key", config={key: 2**31}), "FORMAT", key)
        refuses(folder("key", config={key: -1}), "FORMAT", key)
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        refuses(folder("zero", config={key: 0}), "UNSUPPORTED", key, "0")
        refuses(folder("huge", config={key: 2**31 - 1}), "UNSUPPORTED", key)
    refuses(folder("act", config={"hidden_act": "gelu_new"}), "UNSUPPORTED", "gelu_new", "quick_gelu")
    refuses(folder("arch", config={"architectures": ["T5EncoderModel"]}), "UNSUPPORTED", "T5EncoderModel", "CLIPTextModel")
    refuses(folder("arch", config={"architectures": ["CLIPModel"]}), "FORMAT", "CLIPModel", "text_config")
    refuses(folder("arch", config={"architectures": []}), "UNSUPPORTED", "architectures")
    refuses(folder("type", config={"model_type": "bert"}), "UNSUPPORTED", "bert")
    refuses(folder("eps", config={"layer_norm_eps": 0}), "UNSUPPORTED", "layer_norm_eps")
    refuses(folder("eos", config={"eos_token_id": [999]}), "FORMAT", "eos_token_id")
    refuses(folder("proj", config={"projection_dim": None}), "FORMAT", "projection_dim")


@test
def a_key_twice_is_refused():
    path = pathlib.Path(folder("twice"))
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace("{", '{"hidden_size": 128,', 1))
    refuses(str(path), "FORMAT", "hidden_size", "twice")


@test
def the_epsilon_is_used():
    assert encode(folder("eps1", config={"layer_norm_eps": 0.5})).hidden[-2].tobytes() != encode(MODEL).hidden[-2].tobytes()
    same(encode(folder("eps2", config={"layer_norm_eps": None})), encode(MODEL))


@test
def the_activation_comes_from_the_config_and_can_be_overridden():
    quick = folder("quick", config={"hidden_act": "quick_gelu"})
    with opens(quick) as model:
        assert model.info.activation == "quick_gelu"
    assert encode(quick).hidden[-2].tobytes() != encode(MODEL).hidden[-2].tobytes()
    same(encode(quick, activation="gelu"), encode(MODEL))
    same(encode(quick), encode(MODEL, activation="quick_gelu"))
    same(encode(folder("none", config={"hidden_act": None}), activation="gelu"), encode(MODEL))


@test
def every_prefix_class_and_offset_gives_the_same_bits():
    whole = encode(MODEL)

    def bare(tensors):
        return {k.removeprefix("text_model."): v for k, v in tensors.items() if k != "text_projection.weight"}

    def prefixed(tensors):
        return {k: v for k, v in tensors.items() if k != "text_projection.weight"}
    for name, tensors in (("bare", bare), ("prefixed", prefixed)):
        path = folder(name, config={"architectures": ["CLIPTextModel"]}, tensors=tensors)
        with opens(path) as model, penult.Session(model) as session:
            assert model.info.projection == 0
            error = raises(penult.PenultError, lambda: session.encode("x", pooled=("projected",)), "projection", "RAW")
            assert error.name == "ARGUMENT"
        same(encode(path, pooled=("raw",)), whole)
    same(encode(folder("odd", odd=True)), whole)
    same(encode(MODEL, copy=True), whole)


@test
def every_stored_type_is_read():
    """F16 weights stored as F32 are the same numbers and must give the same bits; BF16 ones round, and so do their results:
    compared with the same rounded numbers stored as F32."""
    whole = encode(MODEL)

    def f32(tensors):
        return {k: ("F32", folders.widen(*v)) for k, v in tensors.items()}

    def bf16(tensors):
        return {k: ("BF16", folders.to_bf16(folders.widen(*v))) for k, v in tensors.items()}

    def bf16_as_f32(tensors):
        return {k: ("F32", folders.widen(*v)) for k, v in bf16(tensors).items()}

    def mixed(tensors):
        return {k: v if i % 2 else ("F32", folders.widen(*v)) for i, (k, v) in enumerate(tensors.items())}
    same(encode(folder("f32", tensors=f32)), whole)
    same(encode(folder("f32odd", tensors=f32, odd=True)), whole)
    same(encode(folder("mixed", tensors=mixed)), whole)
    same(encode(folder("bf16", tensors=bf16)), encode(folder("bf16f32", tensors=bf16_as_f32)))
    with opens(str(pathlib.Path(ROOT) / "bf16")) as model:
        assert model.info.dtype == "bfloat16"


@test
def a_projection_that_is_not_square_keeps_its_orientation():
    def cut(tensors):
        return {**tensors, "text_projection.weight": ("F16", tensors["text_projection.weight"][1][:50])}
    found = encode(folder("oblong", config={"projection_dim": 50}, tensors=cut))
    whole = encode(MODEL)
    assert found.pooled["projected"].shape == (2, 50)
    assert np.allclose(found.pooled["projected"], whole.pooled["projected"][:, :50], rtol=1e-5, atol=1e-6)


@test
def ends_are_found_as_transformers_finds_them():
    row = np.full((1, 77), 5, np.int32)
    row[0, 0], row[0, 30] = 998, 997
    legacy = folder("legacy", config={"eos_token_id": 2}, tokenizer=False)
    with opens(legacy) as model, penult.Session(model) as session:
        assert model.info.end_id is None and model.info.start_id is None
        row[0, 0] = 7
        assert session.encode(row).prompts[0].end_position == 30  # the largest id
    modern = folder("modern", tokenizer=False)
    with opens(modern) as model, penult.Session(model) as session:
        assert model.info.end_id == 999
        error = raises(penult.PenultError, lambda: session.encode(row), "999", "end id")
        assert error.name == "ARGUMENT"
        assert session.encode(row, pooled=()).prompts[0].end_position is None
        row[0, 40] = row[0, 50] = 999
        assert session.encode(row).prompts[0].end_position == 40  # the first


@test
def without_a_tokenizer_ids_work_and_text_is_an_error():
    path = folder("ids", tokenizer=False)
    with opens(path) as model, penult.Session(model) as session:
        assert any(f.subject == "tokenizer" and f.severity == "warning" for f in model.findings)
        for call in (lambda: model.tokenize("x"), lambda: session.encode("x")):
            assert raises(penult.PenultError, call, "tokenizer").name == "NO_TOKENIZER"
    same(encode(path, tokenizer=MODEL), encode(MODEL))


@test
def a_tokenizer_of_another_model_is_refused():
    def cut(tensors):
        name = "text_model.embeddings.token_embedding.weight"
        return {**tensors, name: ("F16", tensors[name][1][:900])}
    refuses(folder("vocab", config={"vocab_size": 900, "eos_token_id": 2}, tensors=cut), "MISMATCH", "999", "900")
    with opens(folder("ends", config={"eos_token_id": 998})) as model:
        assert any(f.subject == "eos_token_id" and "999" in f.message for f in model.findings), model.findings
        assert model.info.end_id == 999


@test
def what_is_not_a_model_is_said():
    refuses(str(pathlib.Path(ROOT) / "nowhere"), "NOT_FOUND", "nowhere")
    refuses(str(pathlib.Path(MODEL) / "config.json"), "FORMAT", "config.json", "weight_map")
    path = pathlib.Path(folder("part"))
    (path / "model.safetensors").unlink()
    refuses(str(path), "NOT_FOUND", "model.safetensors", "text_encoder")
    for name in ("config.json", "model.safetensors"):
        path = pathlib.Path(folder("part"))
        (path / name).unlink()
        (path / name).mkdir()
        refuses(str(path), "IO", "directory")
    path = pathlib.Path(folder("short"))
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[:-1])
    refuses(str(path), "TRUNCATED", "model.safetensors")
    (path / "model.safetensors").write_bytes(data + b"\0")
    refuses(str(path), "TRAILING", "model.safetensors")


@test
def weights_that_are_not_finite_are_an_error():
    for value, name in ((np.nan, "nan"), (np.inf, "inf")):
        def poison(tensors, value=value):
            array = tensors[Q0][1].copy()
            array[3, 4] = value
            return {**tensors, Q0: ("F16", array)}
        error = raises(penult.PenultError, lambda: encode(folder(name, tensors=poison)), "output")
        assert error.name == "NON_FINITE"


@test
def a_file_that_changes_is_an_error_when_mapped_and_nothing_when_copied():
    path = pathlib.Path(folder("change"))
    weights = path / "model.safetensors"
    with opens(str(path)) as mapped, opens(str(path), copy=True) as copied, penult.Session(mapped) as a, \
            penult.Session(copied) as b:
        before = a.encode("x")
        same(b.encode("x"), before)
        with open(weights, "r+b") as file:
            file.truncate(weights.stat().st_size - 4096)
        assert raises(penult.PenultError, lambda: a.encode("x"), "model.safetensors").name == "CHANGED"
        same(b.encode("x"), before)
        shutil.copy(pathlib.Path(MODEL) / "model.safetensors", weights)
        assert raises(penult.PenultError, lambda: a.encode("x"), "model.safetensors").name == "CHANGED"
        assert mapped.info.access == "map" and copied.info.access == "copy"


@test
def bits_do_not_depend_on_batch_threads_or_outputs():
    """For every kernel set: one prompt's bits are its own, whoever else is in the request and whatever else is asked."""
    prompts = ["a photo of a cat", "", "caf\u00e9, 8k!", "x " * 90, "a castle at dawn", "b", "c d", "e f g"]
    with opens(MODEL) as model:
        for kernels in ("scalar", "openblas", "avx2", "avx512", "amx"):
            with penult.Session(model, threads=1, kernels=kernels) as session:
                alone = [session.encode(p, layers=(-2, -1, 0), pooled=ALL) for p in prompts]
            for threads in (1, 2, 3, 5):
                with penult.Session(model, threads=threads, max_prompts=8, kernels=kernels) as session:
                    for count in (1, 2, 5, 8):
                        for turn in range(0, count, 1 + (kernels == "scalar")):
                            order = [(i + turn) % len(prompts) for i in range(count)]
                            found = session.encode([prompts[i] for i in order], layers=(-2,), pooled=("projected",))
                            for at, i in enumerate(order):
                                assert found.hidden[-2][at].tobytes() == alone[i].hidden[-2].tobytes(), (kernels, order)
                                assert found.pooled["projected"][at].tobytes() == alone[i].pooled["projected"].tobytes()
                    early = session.encode(prompts[:3], layers=(1, 0), pooled=())
                    assert early.blocks_run == 1
                    assert early.hidden[0][0].tobytes() == alone[0].hidden[0].tobytes()
                with penult.Session(model, threads=threads, kernels=kernels) as session:
                    for _ in range(20):
                        same(session.encode(prompts[0], layers=(-2, -1, 0), pooled=ALL), alone[0])


@test
def short_rows_in_large_batches_are_those_of_a_row_alone():
    """Rows shorter than the context group differently inside a product, and a batch of hundreds in several groups."""
    rng = np.random.default_rng(5)
    for tokens, count in ((1, 700), (7, 200), (70, 12), (77, 20)):
        ids = rng.integers(0, 998, (count, tokens)).astype(np.int32)
        ids[:, -1] = 999
        with opens(MODEL) as model:
            with penult.Session(model, threads=3, max_prompts=count) as many, penult.Session(model, threads=1) as one:
                found = many.encode(ids, layers=(-2,), pooled=("projected",))
                for i in (0, 1, count // 2, count - 1):
                    alone = one.encode(ids[i:i + 1], layers=(-2,), pooled=("projected",))
                    assert found.hidden[-2][i].tobytes() == alone.hidden[-2].tobytes(), (tokens, count, i)
                    assert found.pooled["projected"][i].tobytes() == alone.pooled["projected"].tobytes()


@test
def a_session_uses_the_kernels_it_was_told_to():
    """The sets add in different orders, so a session that ignored the parameter would give the same bits four times."""
    with opens(MODEL) as model:
        results = []
        for kernels in ("scalar", "openblas", "avx2", "avx512", "amx", "best"):
            with penult.Session(model, kernels=kernels) as session:
                results.append(session.encode("a photo of a cat").hidden[-2])
        for result in results[1:]:
            assert np.abs(result - results[0]).max() < 1e-3 * np.abs(results[0]).max()
        assert len({result.tobytes() for result in results[:2]}) == 2
        top = {"amx": 4, "avx512": 3, "avx2": 2}.get(model.info.kernels, 1 if "openblas" in model.info.kernels else 0)
        assert results[5].tobytes() == results[top].tobytes()
        assert raises(ValueError, lambda: penult.Session(model, kernels="sse"), "sse")


if __name__ == "__main__":
    try:
        status = main()
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    sys.exit(status)
