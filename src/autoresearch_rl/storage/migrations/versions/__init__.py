"""One file per revision of the schema. The last one is `storage.schema.HEAD`."""
