//! What a text costs: by length, language, tier; detection apart. `cargo bench --profile dev -p sentiment`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{Modality, Role};
use sentiment::{Input, Scorer, Scratch, samples};

fn input<'a>(lang: Option<&'a str>, body: &'a str) -> Input<'a> {
    Input {
        body,
        lang,
        role: Role::Customer,
        modality: Modality::Text,
        asr_confidence: None,
    }
}

fn score(criterion: &mut Criterion) {
    let scorer = Scorer::new();
    let linear = Scorer::with(&[samples::model()]).expect("sound");
    let mut scratch = Scratch::default();
    let mut run = |name: String, scorer: &Scorer, input: Input<'_>| {
        let mut group = criterion.benchmark_group("score");
        group.throughput(Throughput::Bytes(input.body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                scorer
                    .read(black_box(&input), &mut scratch)
                    .and_then(|reading| reading.score)
            });
        });
    };
    for (bytes, body) in samples::ENGLISH {
        run(format!("lexicon/en/{bytes}"), &scorer, input(Some("en"), body));
        run(format!("linear/en/{bytes}"), &linear, input(Some("en"), body));
    }
    for (lang, body) in samples::OTHERS {
        run(format!("lexicon/{lang}"), &scorer, input(Some(lang), body));
    }
    run(
        "lexicon/en/72, language detected".to_owned(),
        &scorer,
        input(None, samples::ENGLISH[1].1),
    );
}

criterion_group!(benches, score);
criterion_main!(benches);
