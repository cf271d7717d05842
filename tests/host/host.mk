# host.mk - the plugin as a guest: what a host may count on around and between its calls. For tests.mk to include.
#
# HOST_PROGRAMS and HOST_COMMANDS are what `make test` builds and runs of them.

HOST_PROGRAMS =
HOST_COMMANDS =
