"""The boundary between host and strategies, for strategies that are classes in this process.

Names, types and errors are those of the module `wit_world` that `componentize-py` writes, which a component has in its
sandbox. Once `querist` is imported, `wit_world` is this module where nothing else is called so: a strategy's file needs
no change to be packed.
"""
