//! The service's side: the model that others see, and whoever keeps its process alive.
//!
//! * `model`: [`ChildModel`], the trait's methods. `stream`: the reader's end of a generation.
//! * `link`: the connection to one process and the requests on it. `process`: the process itself, in `huge_pages`.
//! * `launch`: from nothing to a loaded model. `supervisor`: watches it, buries it, starts the next.
//! * `death`: why a process ended. `recovery`, `suspects`: what follows from it. `last_words`: what it printed.
//! * `state`: what all of these share.

mod death;
mod huge_pages;
mod last_words;
mod launch;
mod link;
mod model;
mod process;
mod recovery;
mod state;
mod stream;
mod supervisor;
mod suspects;

pub use model::ChildModel;
