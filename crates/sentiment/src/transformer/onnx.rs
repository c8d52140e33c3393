//! A classifier as an ONNX graph, run by `tract` in the calling thread.

use std::io::Cursor;

use tract_onnx::tract_hir::internal::*;

use super::encode::Tokens;

/// What an input of the graph wants to be given.
#[derive(Debug, Clone, Copy)]
enum Given {
    Ids,
    Mask,
    Types,
}

/// A graph ready to run.
pub struct Graph {
    plan: TypedRunnableModel<TypedModel>,
    inputs: Vec<(Given, DatumType)>,
    /// The number of tokens, where the graph has been exported for one only; shorter texts are filled up behind the mask.
    fixed: Option<usize>,
}

impl Graph {
    /// Reads and optimises a graph with the inputs `input_ids`, `attention_mask` and `token_type_ids`, or some of them.
    pub fn read(bytes: &[u8], max_tokens: usize) -> Result<Self, String> {
        Self::build(bytes, max_tokens).map_err(|error| format!("{error:#}"))
    }

    fn build(bytes: &[u8], max_tokens: usize) -> TractResult<Self> {
        let mut model = tract_onnx::onnx().model_for_read(&mut Cursor::new(bytes))?;
        let outlets = model.input_outlets()?.to_vec();
        let (mut inputs, mut fixed) = (Vec::new(), None);
        let length = model.symbols.sym("tokens");
        for (index, outlet) in outlets.iter().enumerate() {
            let name = model.node(outlet.node).name.clone();
            let given = match name.as_str() {
                "input_ids" => Given::Ids,
                "attention_mask" => Given::Mask,
                "token_type_ids" => Given::Types,
                _ => bail!("unknown input of the graph: found={name} known=input_ids attention_mask token_type_ids"),
            };
            let fact = model.input_fact(index)?;
            let kind = fact.datum_type.concretize().unwrap_or(DatumType::I64);
            // Nothing where an axis has a name or no size.
            let told = fact.shape.as_concrete_finite()?;
            let tokens = match told.as_deref() {
                Some([1, tokens]) => {
                    if *tokens < max_tokens {
                        bail!(
                            "the graph is fixed to fewer tokens than configured: found={tokens} configured={max_tokens}"
                        );
                    }
                    fixed = Some(*tokens);
                    tokens.to_dim()
                }
                Some(other) => bail!("an input is not one text by its tokens: input={name} found={other:?}"),
                None => length.to_dim(),
            };
            model.set_input_fact(index, InferenceFact::dt_shape(kind, tvec![1.to_dim(), tokens]))?;
            inputs.push((given, kind));
        }
        if !inputs.iter().any(|(given, _)| matches!(given, Given::Ids)) {
            bail!("the graph has no input input_ids");
        }
        if fixed.is_some() && !inputs.iter().any(|(given, _)| matches!(given, Given::Mask)) {
            bail!("the graph is fixed to a number of tokens and has no attention_mask");
        }
        let plan = model.into_optimized()?.into_runnable()?;
        Ok(Self { plan, inputs, fixed })
    }

    /// The model's answer to one text.
    pub fn logits(&self, tokens: &Tokens) -> Result<Vec<f32>, String> {
        self.run(tokens).map_err(|error| format!("{error:#}"))
    }

    fn run(&self, tokens: &Tokens) -> TractResult<Vec<f32>> {
        let count = tokens.ids.len();
        let length = self.fixed.unwrap_or(count);
        let mut given = tvec!();
        for (what, kind) in &self.inputs {
            let row: Vec<i64> = (0..length)
                .map(|place| match what {
                    Given::Ids => tokens.ids.get(place).copied().map_or(0, i64::from),
                    Given::Types => tokens.types.get(place).copied().map_or(0, i64::from),
                    Given::Mask => i64::from(place < count),
                })
                .collect();
            let row = Tensor::from_shape(&[1, length], &row)?;
            given.push(row.cast_to_dt(*kind)?.into_owned().into_tvalue());
        }
        let answer = self.plan.run(given)?;
        let first = answer.first().context("the graph has no output")?;
        let first = first.cast_to::<f32>()?;
        Ok(first.as_slice::<f32>()?.to_vec())
    }
}
