//! `waymark sentiment`: how well texts are read, and models trained on an operator's own labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use ::sentiment::{
    LANGUAGES, Reader, Scorer, Scratch,
    linear::LABELS,
    measure::{self, Answer, Figures, Labelled},
    train,
    transformer::Calibration,
};
use event::{Modality, Role, Tier};
use serde_json::{Value, json};
use service::texts;

use crate::{
    cli::{Global, SentimentCommand},
    context,
    report::{Exit, Failure, Report},
};

/// `waymark sentiment eval|calibrate|train`.
///
/// # Errors
/// [`Failure`] if a file cannot be read or understood, or labels are too few.
pub fn run(global: &Global, command: &SentimentCommand) -> Result<Report, Failure> {
    let config = context::config(global)?;
    match command {
        SentimentCommand::Eval { files, lang } => eval(&texts::reader(&config)?, files, lang.as_deref()),
        SentimentCommand::Calibrate { files, lang, out } => {
            calibrate(&texts::reader(&config)?, files, lang.as_deref(), out.as_deref())
        }
        SentimentCommand::Train {
            labels,
            lang,
            out,
            dry_run,
        } => {
            let folder = config.text("sentiment.models_dir");
            let name = |lang: &str| {
                out.clone()
                    .unwrap_or_else(|| Path::new(folder).join(format!("{lang}.model")))
            };
            // A gain is over lexicon and rules, so an earlier model must not take part.
            let extensions = texts::extensions(folder)?;
            let bare = extensions.into_iter().map(|extension| ::sentiment::Extension {
                model: None,
                ..extension
            });
            let scorer = texts::load(folder, &bare.collect::<Vec<_>>())?;
            train(&scorer, labels, lang.as_deref(), name, *dry_run)
        }
    }
}

fn read(path: &Path) -> Result<Vec<Labelled>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))?;
    let text = texts::utf8(path, bytes)?;
    let texts = measure::read(&text).map_err(|problem| Failure::invalid(format!("{}:{problem}", path.display())))?;
    if texts.is_empty() {
        return Err(Failure::invalid(format!("{}: no labelled texts", path.display())));
    }
    Ok(texts)
}

/// The language that was named, as BCP 47, or the one that most texts are in.
fn language(named: Option<&str>, path: &Path, texts: &[Labelled], scorer: &Scorer) -> Result<&'static str, Failure> {
    let known = |found: &str| {
        let primary = found.split(['-', '_']).next().unwrap_or_default();
        LANGUAGES.into_iter().find(|lang| lang.eq_ignore_ascii_case(primary))
    };
    let refuse =
        |problem: &str| Failure::invalid(format!("{}: {problem} known={}", path.display(), LANGUAGES.join(" ")));
    if let Some(named) = named {
        return known(named).ok_or_else(|| refuse(&format!("no lexicon for this language: found={named}")));
    }
    let mut scratch = Scratch::default();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for text in texts {
        let input = ::sentiment::Input {
            body: &text.text,
            lang: None,
            role: Role::Customer,
            modality: Modality::Text,
            asr_confidence: None,
        };
        if let Some(code) = scorer.read(&input, &mut scratch).and_then(|reading| reading.lang) {
            *counts.entry(code.as_str().to_owned()).or_default() += 1;
        }
    }
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(lang, _)| lang);
    let most = most.ok_or_else(|| refuse("no text tells its language, name it: option=--lang"))?;
    known(most).ok_or_else(|| refuse(&format!("no lexicon for this language: found={most}")))
}

fn eval(reader: &Reader, files: &[PathBuf], named: Option<&str>) -> Result<Report, Failure> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    let mut text = format!(
        "{:32} {:4} {:>6} {:>5} {:>8} {:>8} {:>13} {:>7} {:>7} {:>8} {:>6} {:>6}\n",
        "file",
        "lang",
        "texts",
        "dups",
        "accuracy",
        "macro-F1",
        "95 %",
        "neg rec",
        "neg pre",
        "unscored",
        "calib",
        "tier"
    );
    let mut scratch = Scratch::default();
    for path in files {
        let all = read(path)?;
        let lang = language(named, path, &all, &reader.scorer)?;
        let distinct: Vec<&Labelled> = all
            .iter()
            .filter(|text| seen.insert(measure::normal(&text.text)))
            .collect();
        let (answers, tiers): (Vec<Answer>, Vec<Tier>) = distinct
            .iter()
            .map(|text| reader.answer(lang, text, &mut scratch))
            .unzip();
        let figures = measure::figures(&answers);
        let tier = reader.scorer.tier_of(lang).as_str();
        let duplicates = all.len() - distinct.len();
        let name = path.file_name().map_or_else(
            || path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        let [low, high] = figures.macro_f1_interval;
        let _ = writeln!(
            text,
            "{name:32} {lang:4} {:6} {duplicates:5} {:8.3} {:8.3}   {low:.3}-{high:.3} {:7.3} {:7.3} {:8.3} {:6.3} {tier:>7}",
            figures.texts,
            figures.accuracy,
            figures.macro_f1,
            figures.recall[0],
            figures.precision[0],
            figures.unscored,
            figures.calibration_error,
        );
        if let Some(binary) = figures.binary_accuracy {
            let _ = writeln!(text, "{:32} binary accuracy, cut at 0: {binary:.3}", "");
        }
        let reached = tiers.iter().filter(|tier| **tier == Tier::Transformer).count();
        let second = reader.transformer.as_ref().map(|transformer| {
            let _ = writeln!(
                text,
                "{:32} read by the transformer: {reached} of {}",
                "", figures.texts
            );
            json!({ "texts": reached, "model_version": transformer.version() })
        });
        rows.push(json!({
            "file": path.display().to_string(), "lang": lang, "tier": tier,
            "model_version": reader.scorer.version_of(lang), "transformer": second,
            "duplicates": duplicates, "figures": figures_json(&figures),
        }));
    }
    Ok(Report {
        command: "sentiment eval",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({ "sets": rows }),
        text,
    })
}

/// Isotonic steps of the transformer's chances, per language over all files.
fn calibrate(reader: &Reader, files: &[PathBuf], named: Option<&str>, out: Option<&Path>) -> Result<Report, Failure> {
    if reader.transformer.is_none() {
        return Err(Failure::invalid(
            "no transformer is configured: option=sentiment.transformer".to_owned(),
        ));
    }
    let (mut seen, mut scratch) = (BTreeSet::new(), Scratch::default());
    let mut claims: BTreeMap<&'static str, Vec<(f64, bool)>> = BTreeMap::new();
    for path in files {
        let all = read(path)?;
        let lang = language(named, path, &all, &reader.scorer)?;
        for text in all.iter().filter(|text| seen.insert(measure::normal(&text.text))) {
            let claim = reader.claim(lang, text, &mut scratch);
            let claim = claim.map_err(|problem| Failure::invalid(format!("{}: {problem}", path.display())))?;
            if let Some((label, chance)) = claim {
                claims.entry(lang).or_default().push((chance, label == text.label));
            }
        }
    }
    let mut table = Calibration::default();
    if claims.is_empty() {
        return Err(Failure::invalid("no text reaches the transformer".to_owned()));
    }
    for (lang, claims) in &claims {
        table.measure(lang, claims).map_err(|message| Failure {
            exit: Exit::Unsafe,
            message,
        })?;
    }
    let mut text = table.write();
    if let Some(path) = out {
        std::fs::write(path, &text).map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))?;
        text = format!("wrote {} ({} bytes)\n", path.display(), text.len());
    }
    let texts: BTreeMap<&str, usize> = claims.iter().map(|(lang, claims)| (*lang, claims.len())).collect();
    Ok(Report {
        command: "sentiment calibrate",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({ "texts": texts, "table": table.write() }),
        text,
    })
}

fn figures_json(figures: &Figures) -> Value {
    let of_labels = |figures: [f64; 3]| -> Value {
        LABELS
            .iter()
            .zip(figures)
            .map(|(label, figure)| (label.as_str().to_owned(), json!(figure)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    json!({
        "texts": figures.texts, "accuracy": figures.accuracy, "macro_f1": figures.macro_f1,
        "macro_f1_interval": figures.macro_f1_interval, "negative_recall": figures.recall[0],
        "negative_precision": figures.precision[0], "recall": of_labels(figures.recall), "precision": of_labels(figures.precision),
        "unscored": figures.unscored, "calibration_error": figures.calibration_error, "binary_accuracy": figures.binary_accuracy,
    })
}

fn train(
    scorer: &Scorer,
    labels: &Path,
    named: Option<&str>,
    name: impl Fn(&str) -> PathBuf,
    dry_run: bool,
) -> Result<Report, Failure> {
    let texts = read(labels)?;
    let lang = language(named, labels, &texts, scorer)?;
    let outcome = train::train(scorer, lang, &texts).map_err(|refusal| Failure {
        exit: Exit::Unsafe,
        message: format!("{}: {refusal}", labels.display()),
    })?;
    let mut text = format!(
        "{} texts in {lang}, {} left out as repeated; each judged once by a model that had not seen it\n\n{:8} {:>8} {:>8} {:>13} {:>7} {:>7}\n",
        outcome.linear.texts, outcome.duplicates, "tier", "accuracy", "macro-F1", "95 %", "neg rec", "neg pre"
    );
    for (tier, figures) in [("lexicon", &outcome.lexicon), ("linear", &outcome.linear)] {
        let [low, high] = figures.macro_f1_interval;
        let _ = writeln!(
            text,
            "{tier:8} {:8.3} {:8.3}   {low:.3}-{high:.3} {:7.3} {:7.3}",
            figures.accuracy, figures.macro_f1, figures.recall[0], figures.precision[0]
        );
    }
    let [low, high] = outcome.gain_interval;
    let _ = writeln!(text, "\ngain {:+.3}, 95 % {low:+.3} to {high:+.3}", outcome.gain);
    let path = name(lang);
    let accepted = outcome.is_gain();
    let mut written = None;
    if !accepted {
        text.push_str("refused: the interval of the gain does not lie above zero; no model is written\n");
    } else if dry_run {
        let _ = writeln!(text, "would write {}", path.display());
    } else {
        let bytes = outcome.model.write();
        std::fs::write(&path, &bytes).map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))?;
        let _ = writeln!(text, "wrote {} ({} bytes)", path.display(), bytes.len());
        written = Some(path.display().to_string());
    }
    let data = json!({
        "lang": lang, "labels": outcome.linear.texts, "duplicates": outcome.duplicates, "accepted": accepted, "written": written,
        "gain": outcome.gain, "gain_interval": outcome.gain_interval,
        "lexicon": figures_json(&outcome.lexicon), "linear": figures_json(&outcome.linear),
    });
    let exit = if accepted { Exit::Done } else { Exit::Findings };
    Ok(Report {
        command: "sentiment train",
        exit,
        findings: Vec::new(),
        data,
        text,
    })
}
