//! The binary `waymark`.

use std::process::ExitCode;

use clap::Parser as _;
use waymark::{
    cli::{Cli, Command},
    patterns,
    report::Exit,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Pattern(command) = &cli.command;
    match patterns::run(command) {
        Ok(report) => ExitCode::from(report.print(cli.output)),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(Exit::Invalid as u8)
        }
    }
}
