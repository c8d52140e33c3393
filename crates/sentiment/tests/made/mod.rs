//! A BERT with made-up weights, written twice: as safetensors, and as the ONNX graph that an exporter would write of it.

mod onnx;

use std::collections::BTreeMap;

use sentiment::transformer::{File, Files};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The sizes of a model.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub wide: usize,
    pub positions: usize,
    pub classes: usize,
}

/// Small enough for a test.
pub const SMALL: Shape = Shape {
    vocabulary: 24,
    hidden: 16,
    layers: 2,
    heads: 4,
    wide: 32,
    positions: 160,
    classes: 5,
};

/// Weights by name, with their dimensions.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Weights that are the same for the same seed.
pub fn weights(shape: &Shape, seed: u64) -> Weights {
    let mut state = seed;
    let mut weights = Weights::new();
    let mut put = |name: String, dims: &[usize], around: f32, spread: f32| {
        let values = (0..dims.iter().product()).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 40) as f32 / (1_u64 << 24) as f32;
            around + (unit - 0.5) * 2.0 * spread
        });
        let values = values.collect();
        weights.insert(name, (dims.to_vec(), values));
    };
    let Shape { hidden, wide, .. } = *shape;
    // As wide as the inputs are many, so that what comes out stays of one size.
    let spread = |inputs: usize| (3.0 / inputs as f32).sqrt();
    let embeddings = "bert.embeddings";
    put(
        format!("{embeddings}.word_embeddings.weight"),
        &[shape.vocabulary, hidden],
        0.0,
        1.0,
    );
    put(
        format!("{embeddings}.position_embeddings.weight"),
        &[shape.positions, hidden],
        0.0,
        0.3,
    );
    put(
        format!("{embeddings}.token_type_embeddings.weight"),
        &[2, hidden],
        0.0,
        0.3,
    );
    let mut norms = vec![format!("{embeddings}.LayerNorm")];
    for layer in 0..shape.layers {
        let at = format!("bert.encoder.layer.{layer}");
        let dense = [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", wide, hidden),
            ("output.dense", hidden, wide),
        ];
        for (name, outputs, inputs) in dense {
            put(format!("{at}.{name}.weight"), &[outputs, inputs], 0.0, spread(inputs));
            put(format!("{at}.{name}.bias"), &[outputs], 0.0, 0.1);
        }
        norms.push(format!("{at}.attention.output.LayerNorm"));
        norms.push(format!("{at}.output.LayerNorm"));
    }
    for norm in norms {
        put(format!("{norm}.weight"), &[hidden], 1.0, 0.2);
        put(format!("{norm}.bias"), &[hidden], 0.0, 0.1);
    }
    put(
        "bert.pooler.dense.weight".to_owned(),
        &[hidden, hidden],
        0.0,
        spread(hidden),
    );
    put("bert.pooler.dense.bias".to_owned(), &[hidden], 0.0, 0.1);
    put(
        "classifier.weight".to_owned(),
        &[shape.classes, hidden],
        0.0,
        spread(hidden),
    );
    put("classifier.bias".to_owned(), &[shape.classes], 0.0, 0.1);
    weights
}

/// The weights as a file: eight bytes of length, a JSON header, the numbers.
pub fn safetensors(weights: &Weights) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (dims, values)) in weights {
        let begin = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.insert(
            name.clone(),
            json!({ "dtype": "F32", "shape": dims, "data_offsets": [begin, data.len()] }),
        );
    }
    let mut header = serde_json::to_vec(&header).expect("JSON");
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// The weights as a graph. `tokens` fixes the number of tokens, as some exporters do.
pub fn graph(weights: &Weights, shape: &Shape, tokens: Option<usize>) -> Vec<u8> {
    onnx::bert(weights, shape, tokens)
}

/// The words that the made tokenizer knows; others fall into pieces or are unknown.
const WORDS: [&str; 20] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "service", "is", "terrible", "good", "not", "##ly", "het", "werkt",
    "niet", "geweldig", "!", "my", "order", "late", "##st",
];

pub fn tokenizer() -> Vec<u8> {
    let vocabulary: serde_json::Map<_, _> = WORDS
        .iter()
        .enumerate()
        .map(|(index, word)| ((*word).to_owned(), json!(index)))
        .collect();
    let special = |id: usize| json!({ "id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
    let piece = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let whole = json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 512 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]" },
        "added_tokens": [special(0), special(1), special(2), special(3)],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, piece("[SEP]")],
            "pair": [piece("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, piece("[SEP]"), { "Sequence": { "id": "B", "type_id": 1 } }, piece("[SEP]")],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary },
    });
    serde_json::to_vec(&whole).expect("JSON")
}

pub fn config(shape: &Shape, classes: &[&str]) -> Vec<u8> {
    let names: serde_json::Map<_, _> = classes
        .iter()
        .enumerate()
        .map(|(index, name)| (index.to_string(), json!(name)))
        .collect();
    let whole = json!({
        "_name_or_path": "made/tiny-stars", "architectures": ["BertForSequenceClassification"], "model_type": "bert",
        "vocab_size": shape.vocabulary, "hidden_size": shape.hidden, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "intermediate_size": shape.wide, "hidden_act": "gelu",
        "max_position_embeddings": shape.positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "id2label": names,
    });
    serde_json::to_vec(&whole).expect("JSON")
}

/// A file with its true hash.
pub fn file(name: &str, bytes: Vec<u8>) -> File {
    let sha256 = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    File {
        name: name.to_owned(),
        bytes,
        sha256,
    }
}

pub const STARS: [&str; 5] = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"];

/// A model's three files.
pub fn files(name: &str, weights: Vec<u8>, shape: &Shape, classes: &[&str]) -> Files {
    Files {
        weights: file(name, weights),
        tokenizer: file("tokenizer.json", tokenizer()),
        config: file("config.json", config(shape, classes)),
        calibration: None,
    }
}
