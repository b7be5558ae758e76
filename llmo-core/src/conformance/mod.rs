//! What every [`Model`](crate::Model), [`Cache`](crate::Cache) and [`Store`](crate::Store) must do, as test suites.
