//! Records to statistics, tables, curves and HTML.
