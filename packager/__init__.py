"""What build_addon.py packs the add-on with; the standard library is enough."""
