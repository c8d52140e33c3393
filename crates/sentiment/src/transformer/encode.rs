//! From a text to tokens, and what `config.json` says of a model.

use serde_json::Value;
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

/// What the formats share of `config.json`.
pub struct Told {
    /// The model's name.
    pub name: String,
    /// The names of its classes, in their order.
    pub classes: Vec<String>,
    /// Tokens that it has positions for.
    pub positions: Option<usize>,
}

/// Letters of a name that are kept.
const NAME: usize = 96;

impl Told {
    /// Reads `config.json`.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let config: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let classes = config["id2label"]
            .as_object()
            .ok_or("no value: field=id2label, the names of the model's classes")?;
        let class = |index: usize| {
            let name = classes.get(&index.to_string()).and_then(Value::as_str);
            name.map(ToOwned::to_owned)
                .ok_or_else(|| format!("no text: field=id2label.{index}"))
        };
        let classes = (0..classes.len()).map(class).collect::<Result<Vec<_>, _>>()?;
        if classes.len() < 2 {
            return Err(format!(
                "fewer than two classes: field=id2label found={}",
                classes.len()
            ));
        }
        let name = ["_name_or_path", "model_type"]
            .iter()
            .find_map(|field| config[*field].as_str().filter(|name| !name.is_empty()))
            .unwrap_or("transformer");
        let positions = config["max_position_embeddings"].as_u64();
        Ok(Self {
            name: name.chars().take(NAME).collect(),
            classes,
            positions: positions.and_then(|positions| usize::try_from(positions).ok()),
        })
    }
}

/// The tokens of one text.
pub struct Tokens {
    /// Their numbers in the vocabulary, the special ones included.
    pub ids: Vec<u32>,
    /// Which of two texts each belongs to; there is only one.
    pub types: Vec<u32>,
}

/// A tokenizer that cuts.
pub struct Encoder {
    tokenizer: Tokenizer,
}

impl Encoder {
    /// Reads `tokenizer.json`; what it says of cutting and filling up is replaced.
    pub fn read(bytes: &[u8], max_tokens: usize) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer })
    }

    /// The tokens of a text, and whether some were cut.
    pub fn encode(&self, body: &str) -> Result<(Tokens, bool), String> {
        let encoding = self.tokenizer.encode(body, true).map_err(|error| error.to_string())?;
        let tokens = Tokens {
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
        };
        if tokens.ids.is_empty() {
            return Err("the tokenizer makes no tokens".to_owned());
        }
        Ok((tokens, !encoding.get_overflowing().is_empty()))
    }
}
