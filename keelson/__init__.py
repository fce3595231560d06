"""What surrounds the parts: `cogs` that every shell shares, and the `launcher` behind `keelson up`."""
