"""The asyncio face of a store: the same verbs, awaited, and nothing that blocks the loop.

open_async -> `store.AsyncStore`: a `Store` behind it, opened in a worker
put        -> encoded on the loop -> `committer`: one thread, one group for all that is pending -> futures, in bulk
get        -> from memory on the loop; from tables in `workers`
scan       -> `reads`: bounded chunks, fetched in `workers`

Imported only by who asks for it: `import journalkit` doesn't load asyncio.
"""
