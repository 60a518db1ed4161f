"""The model alone as a library, in the form that an ecosystem wants: one file per form."""
