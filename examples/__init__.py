"""Projects that `throughline new` has made, and the data that it made them of."""
