"""
Witness: how a log has its checkpoints cosigned, and how others' are cosigned here.

`protocol` says what is asked and answered, `client` asks, and `witness` answers from a memory
that `memory` keeps. The protocol is C2SP tlog-witness. https://c2sp.org/tlog-witness
"""
