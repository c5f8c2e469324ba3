"""Where records are kept: one seam, `Store`, over the embedded store and Google's Datastore."""
