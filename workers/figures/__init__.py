"""Images that belong to results: PNG files, equal bytes for equal input on equal machines."""
