"""The store: a durable, ordered mapping on top of the log and its snapshots.

open       -> `store.open_store`: recovery, then a `Store` over `Layers`
put        -> `Store` -> encoded -> `log.commit` -> `Layers.apply` -> acknowledged
get, scan  -> `Layers`: active memtable, frozen ones, tables
view       -> `Layers.freeze`: what a reader sees stops changing
compact    -> `Compactor`: frozen memtables + newest tables -> new snapshot -> prune
"""
