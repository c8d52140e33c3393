//! Artefacts by their registry's own client, verified before they are opened.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::manifest::{Artefact, Client};

/// Downloads an artefact unless it lies in the cache, compares its hash, and unpacks it.
pub fn artefact(artefact: &Artefact, cache: &Path) -> Result<(), String> {
    std::fs::create_dir_all(cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let file = cache.join(&artefact.file);
    if !file.exists() {
        download(artefact, cache)?;
    }
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let found: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found != artefact.sha256 {
        return Err(format!(
            "{}: not the file that the manifest names: sha256 expected={} found={found}",
            artefact.file, artefact.sha256
        ));
    }
    unpack(artefact, &file, &folder(&artefact.name, cache))
}

fn folder(name: &str, cache: &Path) -> PathBuf {
    cache.join(format!("{name}.unpacked"))
}

fn download(artefact: &Artefact, cache: &Path) -> Result<(), String> {
    let Artefact { package, version, .. } = artefact;
    let (program, arguments) = match artefact.client {
        Client::Pip => (
            "pip",
            vec![
                "download".to_owned(),
                "--quiet".to_owned(),
                "--no-deps".to_owned(),
                format!("{package}=={version}"),
            ],
        ),
        Client::Npm => (
            "npm",
            vec!["pack".to_owned(), "--silent".to_owned(), format!("{package}@{version}")],
        ),
        Client::Apt => (
            "apt-get",
            vec![
                "--quiet".to_owned(),
                "download".to_owned(),
                format!("{package}={version}"),
            ],
        ),
    };
    run(Command::new(program).args(arguments).current_dir(cache))
}

fn unpack(artefact: &Artefact, file: &Path, into: &Path) -> Result<(), String> {
    std::fs::create_dir_all(into).map_err(|error| format!("{}: {error}", into.display()))?;
    match artefact.client {
        Client::Pip => run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(file)
            .arg(into)),
        Client::Npm => run(Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(into)),
        Client::Apt => run(Command::new("dpkg-deb").arg("-x").arg(file).arg(into)),
    }
}

/// Runs a client to its end; its own message tells what it could not do.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let done = command.output().map_err(|error| format!("{shown}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "{shown}: {}: {}",
        done.status,
        String::from_utf8_lossy(&done.stderr).trim()
    ))
}

/// A file inside an artefact that has been unpacked.
pub fn inside(name: &str, path: &str, cache: &Path) -> Result<String, String> {
    let file = folder(name, cache).join(path);
    std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
}

/// What is committed beside the lexicons about an artefact's licence.
pub fn licence(artefact: &Artefact, cache: &Path) -> Result<String, String> {
    let mut text = format!(
        "Source: {}\nPackage: {} {}\nSHA-256: {}\nLicence: {}\n{}\n",
        artefact.name, artefact.package, artefact.version, artefact.sha256, artefact.licence, artefact.note
    );
    for path in &artefact.licence_files {
        let whole = inside(&artefact.name, path, cache)?;
        let body = match &artefact.licence_part {
            None => whole.as_str(),
            Some([begin, end]) => {
                part(&whole, begin, end).ok_or_else(|| format!("{path}: no part from {begin:?} to {end:?}"))?
            }
        };
        text.push_str(&format!("\n--- {path}\n\n"));
        for line in body.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    Ok(text)
}

fn part<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let from = text.find(begin)?;
    let to = from + text[from..].find(end)?;
    Some(&text[from..to])
}
