//! What one text costs a transformer of the shape of BERT-base, with made-up weights and a small vocabulary, which costs nothing:
//! `cargo run -p sentiment --features onnx,safetensors --example transformer -- [onnx|safetensors] [TOKENS…]`.
//! Prints milliseconds a text, of the processor (all threads of this process) and by the clock.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "made-up weights, and milliseconds"
)]
#![expect(dead_code, reason = "a test uses the rest")]

#[path = "../tests/made/mod.rs"]
mod made;

use event::{Modality, Role};
use made::{STARS, Shape, files, graph, safetensors, weights};
use sentiment::{
    Input, Reader, Scorer, Scratch,
    transformer::{Settings, Transformer},
};

const BASE: Shape = Shape {
    vocabulary: 1000,
    hidden: 768,
    layers: 12,
    heads: 12,
    wide: 3072,
    positions: 512,
    classes: 5,
};
const ROUNDS: u32 = 5;

/// Milliseconds of processor time of this process; the kernel counts in hundredths of a second.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) * 10.0
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let format = words.first().map_or("safetensors", String::as_str);
    let mut tokens: Vec<usize> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    if tokens.is_empty() {
        tokens = vec![16, 32, 64, 128];
    }
    let made = weights(&BASE, 1);
    let (name, bytes) = match format {
        "onnx" => ("model.onnx", graph(&made, &BASE, None)),
        _ => ("model.safetensors", safetensors(&made)),
    };
    drop(made);
    let begun = now();
    let settings = Settings {
        below: 2.0,
        max_tokens: 512,
        ..Settings::default()
    };
    let transformer = Transformer::load(files(name, bytes, &BASE, &STARS), settings).expect("a model that fits");
    println!("{name}: loaded in {:.1} s", begun.elapsed().as_secs_f64());
    let reader = Reader {
        scorer: Scorer::new(),
        transformer: Some(transformer),
    };
    println!("{:>7} {:>13} {:>9}", "tokens", "processor ms", "clock ms");
    for count in tokens {
        // Two tokens stand around them.
        let body = vec!["late"; count.saturating_sub(2)].join(" ");
        let input = Input {
            body: &body,
            lang: Some("en"),
            role: Role::Customer,
            modality: Modality::Text,
            asr_confidence: None,
        };
        let mut scratch = Scratch::default();
        let _ = reader.score(&input, "", &mut scratch);
        let (begun, spent) = (now(), processor());
        for _ in 0..ROUNDS {
            let _ = reader.score(&input, "", &mut scratch);
        }
        println!(
            "{count:>7} {:>13.0} {:>9.0}",
            (processor() - spent) / f64::from(ROUNDS),
            begun.elapsed().as_secs_f64() * 1000.0 / f64::from(ROUNDS)
        );
    }
}
