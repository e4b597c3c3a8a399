"""Problems whose true score is a function of coordinates: eleven families, drawn independently."""
