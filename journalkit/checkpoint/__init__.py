"""A job's checkpoints, on `journalkit.objects`.

From below:

    heads catalogue documents          which there are, and who may say so
    chunks tree arrays pack saving     a state becomes chunks in a pack, and a manifest
    streams stores                     what of it is read as it is written: the tables of stores
    reading saved loading manifests    and comes back, whole or in part
    saved_store                        or as a store, which `journalkit.recovery.restoring` writes
    retention pacing                   what to keep, when to save: pure
    sweeping needed                    what nobody needs, and its end
    restoring                          an older one as the newest again
    address sharing save_words         where a process finds the place, the state and its orders
    save_child outside writes          that process; who speaks to it; which of the two writes
    saver finder                       the writer: save, publish, sweep; and what finds and checks
    sinks sink_files sink_sql          outputs that appear with a checkpoint
    board boards board_url             where a lease is said: in the place, or
    board_etcd board_nats              on one key elsewhere
    lease preemption                   who runs the job, and for how long still
    keyed assembling merging           state of several workers, divided and put together
    rounds agreeing together parts     how they agree, load and write their parts
    looks                              and at which step they save
    contents differing watching        what differs between two; what is published, as it happens
    looking                            the part of a handle that finds and compares
    checkpoints checkpoint background  what a program holds; made by open, on a handle
    worker                             what each of several holds; made by joining

What is above uses what is below it, never the other way round.
"""
