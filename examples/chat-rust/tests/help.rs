//! The example runs; what it does is tested with the whole pipeline, in `crates/waymark/tests/examples.rs`.

use std::process::Command;

#[test]
fn it_says_what_it_needs() {
    let output = Command::new(env!("CARGO_BIN_EXE_chat-service"))
        .arg("--help")
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("--brokers") && text.contains("--shown"), "{text}");
}
