"""Raw values, as decoders and drivers give them, turned into canonical values: one file per family of kinds."""
