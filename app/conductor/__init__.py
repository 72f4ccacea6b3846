"""The conductor's process: has stores' tables read again, slice by slice, and says which slices were read whole."""
