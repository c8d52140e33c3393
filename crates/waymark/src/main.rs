//! The binary `waymark`.

use std::process::ExitCode;

use clap::Parser as _;
use waymark::{
    allocations::Counted,
    audit, bench,
    cli::{Cli, Command, Format},
    demo, looking, patterns, replay,
    report::{Failure, Report, say},
    run, sentiment, setup,
};

/// A journey is many small pieces that live long: the system's allocator spent a fifth of `monitor`'s time on them.
#[global_allocator]
static ALLOCATOR: Counted<mimalloc::MiMalloc> = Counted(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done: Result<Option<Report>, Failure> = match &cli.command {
        Command::Run { services } => run::run(&cli.global, services).map(|()| None),
        Command::Demo(options) => demo::run(&cli.global, options).map(Some),
        Command::Replay(options) => replay::run(&cli.global, options).map(Some),
        Command::Check { paths, connect } => setup::check(&cli.global, paths, *connect).map(Some),
        Command::Config(command) => setup::show_config(&cli.global, command).map(Some),
        Command::Pattern(command) => patterns::run(command, &cli.global).map(Some),
        Command::Topics(command) => setup::topics(&cli.global, command).map(Some),
        Command::Tap(options) => looking::tap(&cli.global, options).map(|()| None),
        Command::Dlq(command) => looking::dlq(&cli.global, command).map(Some),
        Command::Sentiment(command) => sentiment::run(&cli.global, command).map(Some),
        Command::Audit(options) => audit::run(&cli.global, options).map(Some),
        Command::Bench(command) => bench::run(&cli.global, command).map(Some),
    };
    match done {
        Ok(Some(report)) => ExitCode::from(report.print(cli.global.output)),
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => {
            if cli.global.output == Format::Json {
                // Whether it can be said or not, the command has failed.
                let _ = say(&failure.report().envelope().to_string());
            }
            ExitCode::from(failure.tell())
        }
    }
}
