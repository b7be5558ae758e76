//! `llmo completions` and `llmo man`: what shells and `man` read, made from the command line's own definition.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::error::{CliError, Result};
use crate::output;

pub(crate) fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "llmo", &mut script);
    output::raw(&script);
}

pub(crate) fn man(dir: Option<&Path>) -> Result {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(CliError::io("cannot make the manual page"))?;
        output::raw(&page);
        return Ok(());
    };
    std::fs::create_dir_all(dir).map_err(CliError::io(format!("cannot make {}", dir.display())))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .map_err(CliError::io(format!("cannot write manual pages into {}", dir.display())))
}
