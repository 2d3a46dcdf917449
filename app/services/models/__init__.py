"""Models: uploads, lists, graphs, deletion."""
