//! A BERT with a classifier on its first token (Devlin et al., 2019), from weights in safetensors, run by `candle` on the processor.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, Module, VarBuilder, embedding, linear, ops::softmax_last_dim};
use serde::Deserialize;

use super::encode::Tokens;

/// The sizes in `config.json`.
#[derive(Debug, Deserialize)]
struct Sizes {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    id2label: std::collections::BTreeMap<String, String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn two() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

#[derive(Debug, Clone, Copy)]
enum Activation {
    Gelu,
    GeluTanh,
    Relu,
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Relu => x.relu(),
        }
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    norm: LayerNorm,
}

/// A model ready to run.
pub struct Bert {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
    pooler: Linear,
    classifier: Linear,
    heads: usize,
    activation: Activation,
}

impl Bert {
    /// Reads weights by the sizes in `config.json`.
    pub fn read(weights: Vec<u8>, config: &[u8]) -> std::result::Result<Self, String> {
        let sizes: Sizes = serde_json::from_slice(config).map_err(|error| format!("config.json: {error}"))?;
        if sizes.model_type != "bert" {
            return Err(format!(
                "weights in safetensors are read for one kind of model, export others to ONNX: found={} known=bert",
                sizes.model_type
            ));
        }
        if sizes.num_attention_heads == 0 || !sizes.hidden_size.is_multiple_of(sizes.num_attention_heads) {
            return Err(format!(
                "config.json: hidden_size is no multiple of num_attention_heads: hidden_size={} num_attention_heads={}",
                sizes.hidden_size, sizes.num_attention_heads
            ));
        }
        let activation = match sizes.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                return Err(format!(
                    "config.json: unknown hidden_act: found={other} known=gelu gelu_new gelu_pytorch_tanh relu"
                ));
            }
        };
        Self::build(weights, &sizes, activation).map_err(|error| error.to_string())
    }

    fn build(weights: Vec<u8>, sizes: &Sizes, activation: Activation) -> Result<Self> {
        let root = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
        let bert = root.pp("bert");
        let (hidden, wide) = (sizes.hidden_size, sizes.intermediate_size);
        let norm = |at: &VarBuilder<'_>| normal(at, hidden, sizes.layer_norm_eps);
        let at = bert.pp("embeddings");
        let layer = |index: usize| -> Result<Layer> {
            let at = bert.pp("encoder.layer").pp(index);
            let seen = at.pp("attention.self");
            let attended = at.pp("attention.output");
            Ok(Layer {
                query: linear(hidden, hidden, seen.pp("query"))?,
                key: linear(hidden, hidden, seen.pp("key"))?,
                value: linear(hidden, hidden, seen.pp("value"))?,
                attended: linear(hidden, hidden, attended.pp("dense"))?,
                attended_norm: norm(&attended)?,
                wide: linear(hidden, wide, at.pp("intermediate.dense"))?,
                narrow: linear(wide, hidden, at.pp("output.dense"))?,
                norm: norm(&at.pp("output"))?,
            })
        };
        Ok(Self {
            words: embedding(sizes.vocab_size, hidden, at.pp("word_embeddings"))?,
            positions: embedding(sizes.max_position_embeddings, hidden, at.pp("position_embeddings"))?,
            types: embedding(sizes.type_vocab_size, hidden, at.pp("token_type_embeddings"))?,
            norm: norm(&at)?,
            layers: (0..sizes.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            pooler: linear(hidden, hidden, bert.pp("pooler.dense"))?,
            classifier: linear(hidden, sizes.id2label.len(), root.pp("classifier"))?,
            heads: sizes.num_attention_heads,
            activation,
        })
    }

    /// The model's answer to one text. There is one text and nothing is filled up, so there is no mask.
    pub fn logits(&self, tokens: &Tokens) -> std::result::Result<Vec<f32>, String> {
        self.run(tokens).map_err(|error| error.to_string())
    }

    fn run(&self, tokens: &Tokens) -> Result<Vec<f32>> {
        let device = Device::Cpu;
        let places: Vec<u32> = (0_u32..).take(tokens.ids.len()).collect();
        let words = self.words.forward(&Tensor::new(tokens.ids.as_slice(), &device)?)?;
        let positions = self.positions.forward(&Tensor::new(places, &device)?)?;
        let types = self.types.forward(&Tensor::new(tokens.types.as_slice(), &device)?)?;
        let mut x = self.norm.forward(&((words + types)? + positions)?)?;
        for layer in &self.layers {
            let attended = self.attend(layer, &x)?;
            x = layer
                .attended_norm
                .forward(&(layer.attended.forward(&attended)? + x)?)?;
            let wide = self.activation.apply(&layer.wide.forward(&x)?)?;
            x = layer.norm.forward(&(layer.narrow.forward(&wide)? + x)?)?;
        }
        let pooled = self.pooler.forward(&x.narrow(0, 0, 1)?)?.tanh()?;
        self.classifier.forward(&pooled)?.flatten_all()?.to_vec1()
    }

    fn attend(&self, layer: &Layer, x: &Tensor) -> Result<Tensor> {
        let (count, hidden) = x.dims2()?;
        let width = hidden / self.heads;
        let by_head = |of: &Linear| {
            of.forward(x)?
                .reshape((count, self.heads, width))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (query, key, value) = (by_head(&layer.query)?, by_head(&layer.key)?, by_head(&layer.value)?);
        #[expect(clippy::cast_precision_loss, reason = "a head's width")]
        let scale = 1.0 / (width as f64).sqrt();
        let weights = (query.matmul(&key.transpose(1, 2)?.contiguous()?)? * scale)?;
        let weights = softmax_last_dim(&weights)?;
        weights
            .matmul(&value)?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((count, hidden))
    }
}

/// A normalisation; old files call its weight gamma and its bias beta.
fn normal(at: &VarBuilder<'_>, size: usize, epsilon: f64) -> Result<LayerNorm> {
    let at = at.pp("LayerNorm");
    let (weight, bias) = if at.contains_tensor("gamma") {
        ("gamma", "beta")
    } else {
        ("weight", "bias")
    };
    Ok(LayerNorm::new(at.get(size, weight)?, at.get(size, bias)?, epsilon))
}
