//! An ONNX file, byte by byte: protocol buffers by hand, and the graph of a BERT in the operators that exporters write (opset 13).

use super::{Shape, Weights};

/// A message of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn each<'a>(self, field: u64, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        values
            .into_iter()
            .fold(self, |message, value| message.bytes(field, value))
    }
}

const FLOAT: i64 = 1;
const INT64: i64 = 7;

fn tensor(name: &str, dims: &[usize], kind: i64, raw: &[u8]) -> Message {
    let dims = dims
        .iter()
        .fold(Message::default(), |message, dim| message.number(1, *dim as i64));
    dims.number(2, kind).bytes(8, name.as_bytes()).bytes(9, raw)
}

fn value(name: &str, kind: i64, dims: &[Result<usize, &str>]) -> Message {
    let shape = dims.iter().fold(Message::default(), |message, dim| {
        let dim = match dim {
            Ok(fixed) => Message::default().number(1, *fixed as i64),
            Err(name) => Message::default().bytes(2, name.as_bytes()),
        };
        message.bytes(1, &dim.0)
    });
    let kind = Message::default().number(1, kind).bytes(2, &shape.0);
    let kind = Message::default().bytes(1, &kind.0);
    Message::default().bytes(1, name.as_bytes()).bytes(2, &kind.0)
}

/// A graph that grows node by node.
struct Graph<'a> {
    weights: &'a Weights,
    nodes: Vec<Message>,
    initial: Vec<Message>,
    made: usize,
}

impl Graph<'_> {
    fn name(&mut self) -> String {
        self.made += 1;
        format!("t{}", self.made)
    }

    fn node_to(&mut self, out: &str, op: &str, inputs: &[&str], numbers: &[(&str, &[i64])]) {
        let mut node = Message::default()
            .each(1, inputs.iter().map(|input| input.as_bytes()))
            .bytes(2, out.as_bytes())
            .bytes(3, format!("/{op}_{out}").as_bytes())
            .bytes(4, op.as_bytes());
        for (name, values) in numbers {
            let attribute = Message::default().bytes(1, name.as_bytes());
            let lists = matches!(*name, "axes" | "perm");
            let attribute = if lists {
                values
                    .iter()
                    .fold(attribute, |message, value| message.number(8, *value))
                    .number(20, 7)
            } else {
                attribute.number(3, values[0]).number(20, 2)
            };
            node = node.bytes(5, &attribute.0);
        }
        self.nodes.push(node);
    }

    fn node(&mut self, op: &str, inputs: &[&str], numbers: &[(&str, &[i64])]) -> String {
        let out = self.name();
        self.node_to(&out, op, inputs, numbers);
        out
    }

    fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let name = self.name();
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initial.push(tensor(&name, dims, FLOAT, &raw));
        name
    }

    fn longs(&mut self, dims: &[usize], values: &[i64]) -> String {
        let name = self.name();
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initial.push(tensor(&name, dims, INT64, &raw));
        name
    }

    fn weight(&mut self, name: &str) -> String {
        let (dims, values) = &self.weights[name];
        self.floats(dims, values)
    }

    /// x·Wᵀ + b; exporters store the weight turned.
    fn dense(&mut self, x: &str, name: &str) -> String {
        let (dims, values) = &self.weights[&format!("{name}.weight")];
        let (outputs, inputs) = (dims[0], dims[1]);
        let mut turned = vec![0.0; values.len()];
        for output in 0..outputs {
            for input in 0..inputs {
                turned[input * outputs + output] = values[output * inputs + input];
            }
        }
        let weight = self.floats(&[inputs, outputs], &turned);
        let bias = self.weight(&format!("{name}.bias"));
        let product = self.node("MatMul", &[x, &weight], &[]);
        self.node("Add", &[&bias, &product], &[])
    }

    fn norm(&mut self, x: &str, name: &str) -> String {
        let last: &[(&str, &[i64])] = &[("axes", &[-1]), ("keepdims", &[1])];
        let (two, epsilon) = (self.floats(&[], &[2.0]), self.floats(&[], &[1e-12]));
        let mean = self.node("ReduceMean", &[x], last);
        let centred = self.node("Sub", &[x, &mean], &[]);
        let squared = self.node("Pow", &[&centred, &two], &[]);
        let variance = self.node("ReduceMean", &[&squared], last);
        let variance = self.node("Add", &[&variance, &epsilon], &[]);
        let deviation = self.node("Sqrt", &[&variance], &[]);
        let unit = self.node("Div", &[&centred, &deviation], &[]);
        let (weight, bias) = (
            self.weight(&format!("{name}.weight")),
            self.weight(&format!("{name}.bias")),
        );
        let scaled = self.node("Mul", &[&unit, &weight], &[]);
        self.node("Add", &[&scaled, &bias], &[])
    }

    /// The size of one dimension, as a list of one.
    fn size(&mut self, of: &str, dim: i64) -> String {
        let shape = self.node("Shape", &[of], &[]);
        let index = self.longs(&[], &[dim]);
        let size = self.node("Gather", &[&shape, &index], &[("axis", &[0])]);
        let axis = self.longs(&[1], &[0]);
        self.node("Unsqueeze", &[&size, &axis], &[])
    }

    fn reshape(&mut self, x: &str, rest: &[i64]) -> String {
        let (texts, tokens) = (self.size(x, 0), self.size(x, 1));
        let mut parts = vec![texts, tokens];
        parts.extend(rest.iter().map(|size| self.longs(&[1], &[*size])));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let shape = self.node("Concat", &parts, &[("axis", &[0])]);
        self.node("Reshape", &[x, &shape], &[])
    }
}

/// A BERT with a classifier.
pub fn bert(weights: &Weights, shape: &Shape, tokens: Option<usize>) -> Vec<u8> {
    let mut graph = Graph {
        weights,
        nodes: Vec::new(),
        initial: Vec::new(),
        made: 0,
    };
    let g = &mut graph;
    let words = g.weight("bert.embeddings.word_embeddings.weight");
    let words = g.node("Gather", &[&words, "input_ids"], &[]);
    let types = g.weight("bert.embeddings.token_type_embeddings.weight");
    let types = g.node("Gather", &[&types, "token_type_ids"], &[]);
    let every: Vec<i64> = (0..shape.positions as i64).collect();
    let every = g.longs(&[1, shape.positions], &every);
    let (from, axis, end) = (g.longs(&[1], &[0]), g.longs(&[1], &[1]), g.size("input_ids", 1));
    let places = g.node("Slice", &[&every, &from, &end, &axis], &[]);
    let positions = g.weight("bert.embeddings.position_embeddings.weight");
    let positions = g.node("Gather", &[&positions, &places], &[]);
    let sum = g.node("Add", &[&words, &types], &[]);
    let sum = g.node("Add", &[&sum, &positions], &[]);
    let mut x = g.norm(&sum, "bert.embeddings.LayerNorm");

    let (one, two) = (g.longs(&[1], &[1]), g.longs(&[1], &[2]));
    let mask = g.node("Unsqueeze", &["attention_mask", &one], &[]);
    let mask = g.node("Unsqueeze", &[&mask, &two], &[]);
    let mask = g.node("Cast", &[&mask], &[("to", &[FLOAT])]);
    let (whole, far) = (g.floats(&[], &[1.0]), g.floats(&[], &[-10_000.0]));
    let mask = g.node("Sub", &[&whole, &mask], &[]);
    let mask = g.node("Mul", &[&mask, &far], &[]);

    let (heads, width) = (shape.heads as i64, (shape.hidden / shape.heads) as i64);
    for layer in 0..shape.layers {
        let at = format!("bert.encoder.layer.{layer}");
        let mut by_head = |name: &str, perm: &[i64]| {
            let part = g.dense(&x, &format!("{at}.attention.self.{name}"));
            let part = g.reshape(&part, &[heads, width]);
            g.node("Transpose", &[&part], &[("perm", perm)])
        };
        let query = by_head("query", &[0, 2, 1, 3]);
        let key = by_head("key", &[0, 2, 3, 1]);
        let value = by_head("value", &[0, 2, 1, 3]);
        let scores = g.node("MatMul", &[&query, &key], &[]);
        let root = g.floats(&[], &[(width as f32).sqrt()]);
        let scores = g.node("Div", &[&scores, &root], &[]);
        let scores = g.node("Add", &[&scores, &mask], &[]);
        let shares = g.node("Softmax", &[&scores], &[("axis", &[-1])]);
        let seen = g.node("MatMul", &[&shares, &value], &[]);
        let seen = g.node("Transpose", &[&seen], &[("perm", &[0, 2, 1, 3])]);
        let seen = g.reshape(&seen, &[shape.hidden as i64]);
        let seen = g.dense(&seen, &format!("{at}.attention.output.dense"));
        let seen = g.node("Add", &[&seen, &x], &[]);
        let attended = g.norm(&seen, &format!("{at}.attention.output.LayerNorm"));
        let wide = g.dense(&attended, &format!("{at}.intermediate.dense"));
        let (root, one, half) = (
            g.floats(&[], &[std::f32::consts::SQRT_2]),
            g.floats(&[], &[1.0]),
            g.floats(&[], &[0.5]),
        );
        let part = g.node("Div", &[&wide, &root], &[]);
        let part = g.node("Erf", &[&part], &[]);
        let part = g.node("Add", &[&part, &one], &[]);
        let part = g.node("Mul", &[&wide, &part], &[]);
        let wide = g.node("Mul", &[&part, &half], &[]);
        let narrow = g.dense(&wide, &format!("{at}.output.dense"));
        let narrow = g.node("Add", &[&narrow, &attended], &[]);
        x = g.norm(&narrow, &format!("{at}.output.LayerNorm"));
    }
    let first = g.longs(&[], &[0]);
    let first = g.node("Gather", &[&x, &first], &[("axis", &[1])]);
    let pooled = g.dense(&first, "bert.pooler.dense");
    let pooled = g.node("Tanh", &[&pooled], &[]);
    let logits = g.dense(&pooled, "classifier");
    g.node_to("logits", "Identity", &[&logits], &[]);

    let batch: &[Result<usize, &str>] = match tokens {
        Some(tokens) => &[Ok(1), Ok(tokens)],
        None => &[Err("batch"), Err("sequence")],
    };
    let inputs = ["input_ids", "attention_mask", "token_type_ids"].map(|name| value(name, INT64, batch));
    let whole = Message::default()
        .each(1, graph.nodes.iter().map(|node| node.0.as_slice()))
        .bytes(2, b"main_graph")
        .each(5, graph.initial.iter().map(|tensor| tensor.0.as_slice()))
        .each(11, inputs.iter().map(|input| input.0.as_slice()))
        .bytes(12, &value("logits", FLOAT, &[batch[0], Ok(shape.classes)]).0);
    let opset = Message::default().bytes(1, b"").number(2, 13);
    Message::default()
        .number(1, 8)
        .bytes(2, b"made")
        .bytes(7, &whole.0)
        .bytes(8, &opset.0)
        .0
}
