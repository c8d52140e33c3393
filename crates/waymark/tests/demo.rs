//! The demo as a user runs it: to its end, and interrupted and gone on with.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

const CUSTOMERS: u64 = 45;

fn demo(keep: &Path, speed: u32) -> Child {
    Command::new(env!("CARGO_BIN_EXE_waymark"))
        .args(["demo", "--output", "json", "--speed", &speed.to_string()])
        .args([
            "--customers",
            &CUSTOMERS.to_string(),
            "--set",
            "console.listen=127.0.0.1:0",
        ])
        .arg("--patterns")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../patterns"))
        .arg("--keep")
        .arg(keep)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

fn ended(child: Child) -> (i32, Value, String) {
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{told}"));
    (output.status.code().expect("an exit code"), report, told)
}

#[test]
fn what_is_true_is_found_also_after_an_interruption() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let whole = folder.path().join("whole");
    let (code, report, told) = ended(demo(&whole, 20_000));
    assert_eq!(code, 0, "{told}");
    let all = &report["data"]["all"];
    assert_eq!(all["missed"], 0, "{report}");
    assert_eq!(all["beyond"], 0, "{report}");
    assert_eq!(all["true"], all["found"]);
    assert_eq!(all["true"], CUSTOMERS * 4 / 5, "one in five has nothing to be found");
    assert!(told.contains("Page: http://127.0.0.1:"), "{told}");

    let parts = folder.path().join("parts");
    let child = demo(&parts, 600);
    std::thread::sleep(Duration::from_secs(2));
    let pid = i32::try_from(child.id()).expect("a process id");
    // SAFETY: the process is our own child and not yet waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let (code, first, told) = ended(child);
    assert_eq!(code, 0, "{told}");
    assert!(first["data"]["all"]["true"].as_u64() < all["true"].as_u64(), "{first}");
    let (code, second, told) = ended(demo(&parts, 20_000));
    assert_eq!(code, 0, "{told}");
    assert_eq!(second["data"]["patterns"], report["data"]["patterns"]);
}
