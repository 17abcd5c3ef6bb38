//! Discovery, validation and execution of plugins.
