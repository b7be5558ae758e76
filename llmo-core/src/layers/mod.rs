//! Layers: each wraps a [`Model`](crate::Model) and is a model again.
