"""The fetch stage: datasets that Formwork makes or downloads itself, one module each.

A new one needs a module here, which has the name of the dataset, a field in formwork.params.Sources with its options,
and its defaults in params.yaml. The module has

    VERSION: to be raised whenever it writes other files than before
    write(folder, archives, options): writes <class>/<file> or {train,val,test}/<class>/<file> below the empty `folder`

where `archives` is a folder for downloads, which are kept until the dataset is complete, and `options` is what
params.yaml has under sources.<name>.
"""
