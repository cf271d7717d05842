# files.mk - malformed and changing files, each with what the plugin must say of it. For tests.mk to include.
#
# FILE_PROGRAMS and FILE_COMMANDS are what `make test` builds and runs of them.

FILE_PROGRAMS =
FILE_COMMANDS =
