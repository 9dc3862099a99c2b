//! Networks as data: read, written, checked.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ops::{
    Add, Attention, AvgPool2d, BatchNorm, ClassToken, Conv2d, Flatten, Gelu, GlobalMean, LayerNorm, Linear, MaxPool2d,
    Patches, PositionEmbedding, Quantize, Relu, TakeToken,
};
use crate::{MAX_ACTIVATION, MAX_PARAMETERS, Op, TensorShape};

/// A network of these nodes over images of 2 x 8 x 6.
fn network(nodes: Value) -> Result<Description, String> {
    let text = json!({"input": {"shape": [2, 8, 6]}, "node": nodes}).to_string();
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// What is wrong with such a network.
fn problem(nodes: Value) -> String {
    match network(nodes) {
        Ok(network) => network.check().unwrap_err().to_string(),
        Err(error) => error,
    }
}

fn node(name: &str, op: impl Into<Op>, inputs: &[&str]) -> Node {
    Node { name: name.into(), op: op.into(), inputs: inputs.iter().map(|input| input.to_string()).collect() }
}

#[test]
fn what_is_as_usual_is_left_out_and_comes_back() {
    let conv = Conv2d { padding: [1, 1], bias: false, ..Conv2d::new(4, [3, 3]) };
    let wide = Conv2d { stride: [1, 2], dilation: [2, 2], groups: 2, ..Conv2d::new(4, [1, 3]) };
    let rule = Rule { nodes: "conv*".into(), weight_bits: Some(2), fixed_scale: Some(0.1), ..Rule::all() };
    let network = Description {
        input: InputShape { shape: vec![2, 8, 6] },
        nodes: vec![
            node("conv1", conv, &[INPUT]),
            node("norm1", BatchNorm::default(), &["conv1"]),
            node("other", Conv2d { padding: [1, 1], ..Conv2d::new(4, [3, 3]) }, &[INPUT]),
            node("add", Add {}, &["norm1", "other"]),
            node("relu", Relu {}, &["add"]),
            node("wide", wide, &["relu"]),
            node("pool", MaxPool2d::new([2, 1]), &["wide"]),
            node("mean", AvgPool2d { kernel: [2, 1], stride: [1, 1] }, &["pool"]),
            node("flatten", Flatten {}, &["mean"]),
            node("output", Linear::new(3), &["flatten"]),
        ],
        rules: vec![rule],
    };
    let written = json!({
        "input": {"shape": [2, 8, 6]},
        "node": [
            {"name": "conv1", "op": "conv2d", "channels": 4, "kernel": 3, "padding": 1, "bias": false},
            {"name": "norm1", "op": "batch_norm"},
            {"name": "other", "op": "conv2d", "input": "input", "channels": 4, "kernel": 3, "padding": 1},
            {"name": "add", "op": "add", "input": ["norm1", "other"]},
            {"name": "relu", "op": "relu"},
            {
                "name": "wide", "op": "conv2d", "channels": 4, "kernel": [1, 3], "stride": [1, 2], "dilation": 2,
                "groups": 2
            },
            {"name": "pool", "op": "max_pool2d", "kernel": [2, 1]},
            {"name": "mean", "op": "avg_pool2d", "kernel": [2, 1], "stride": 1},
            {"name": "flatten", "op": "flatten"},
            {"name": "output", "op": "linear", "outputs": 3},
        ],
        "rule": [{"nodes": "conv*", "weight_bits": 2, "fixed_scale": 0.1}],
    });
    assert_eq!(serde_json::to_value(&network).unwrap(), written);
    assert_eq!(serde_json::from_value::<Description>(written).unwrap(), network);
    let reports = network.check().unwrap();
    let outputs: Vec<&[usize]> = reports.iter().map(|report| &report.output[..]).collect();
    let image = &[4, 8, 6][..];
    assert_eq!(outputs, [image, image, image, image, image, &[4, 8, 1], &[4, 4, 1], &[4, 3, 1], &[12], &[3]]);
    assert_eq!(reports.iter().map(|report| report.parameters).collect::<Vec<_>>(), [72, 8, 76, 0, 0, 28, 0, 0, 0, 39]);
    assert_eq!(reports[0].multiply_accumulates, 2 * 9 * 4 * 48);
    assert_eq!(reports[5].multiply_accumulates, 2 * 3 * 32);
    assert_eq!(reports[5].tensors, [TensorShape::new("weight", [4, 2, 1, 3]), TensorShape::new("bias", [4])]);
    assert_eq!(reports[9].tensors[0].shape, [3, 12]);
    assert_eq!((network.place("wide"), network.place(INPUT)), (Some(5), None));
}

#[test]
fn tokens_pass_through_a_transformer() {
    let network = network(json!([
        {"name": "patches", "op": "patches", "size": [4, 3]},
        {"name": "embed", "op": "linear", "outputs": 12},
        {"name": "token", "op": "class_token"},
        {"name": "place", "op": "position_embedding"},
        {"name": "norm", "op": "layer_norm"},
        {"name": "qkv", "op": "linear", "outputs": 36, "bias": false},
        {"name": "attend", "op": "attention", "heads": 3},
        {"name": "gelu", "op": "gelu"},
        {"name": "add", "op": "add", "input": ["place", "gelu"]},
        {"name": "mean", "op": "global_mean"},
        {"name": "first", "op": "take_token", "input": "add"},
        {"name": "codes", "op": "quantize", "bits": 4, "lowest": -8, "highest": 7, "multiply": true},
        {"name": "both", "op": "add", "input": ["mean", "codes"]},
    ]));
    let reports = network.unwrap().check().unwrap();
    let shape = |place: usize| &reports[place].output[..];
    assert_eq!((shape(0), shape(1), shape(2), shape(3)), (&[4, 24][..], &[4, 12][..], &[5, 12][..], &[5, 12][..]));
    assert_eq!((shape(5), shape(6), shape(8)), (&[5, 36][..], &[5, 12][..], &[5, 12][..]));
    assert_eq!((shape(9), shape(10), shape(12)), (&[12][..], &[12][..], &[12][..]));
    let parameters: Vec<usize> = reports.iter().map(|report| report.parameters).collect();
    assert_eq!(parameters, [0, 300, 12, 60, 24, 432, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!((reports[1].multiply_accumulates, reports[6].multiply_accumulates), (4 * 24 * 12, 2 * 5 * 60));
}

#[test]
fn what_cannot_be_read_names_the_node() {
    for (nodes, expected) in [
        (json!([{"name": "a", "op": "convd"}]), "node a: there is no op \"convd\"; did you mean conv2d?"),
        (json!([{"name": "a", "op": "avgpool2d"}]), "node a: there is no op \"avgpool2d\"; did you mean avg_pool2d?"),
        (json!([{"name": "a", "op": "linear"}]), "node a: missing field `outputs`"),
        (json!([{"name": "a", "op": "linear", "outputs": -1}]), "node a: outputs: invalid value: integer `-1`"),
        (json!([{"name": "a", "op": "linear", "outputs": 1.5}]), "node a: outputs: invalid type: floating point `1.5`"),
        (json!([{"name": "a", "op": "patches", "size": [1, 2, 3]}]), "node a: size: a size of height and width"),
        (json!([{"name": "a", "op": "max_pool2d", "kernel": "2"}]), "node a: kernel: a size of height and width"),
        (json!([{"name": "a"}]), "node a: it has no op; give it one"),
        (json!([{"name": "a", "op": 3}]), "node a: op is 3; give it a word"),
        (json!([{"name": "a", "op": "relu", "input": 3}]), "node a: input is 3; give it the name of a node"),
        (json!([{"name": "a", "op": "relu", "input": ["b", 3]}]), "node a: input is [\"b\",3]; give it"),
        (json!([{"op": "relu"}]), "node name \"\" cannot be"),
        (json!([{"name": 3, "op": "relu"}]), "node name \"3\" cannot be"),
        (json!([3]), "invalid type: integer `3`, expected a node: a table with name, op and sizes"),
    ] {
        let error = problem(nodes);
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
    for (nodes, words) in [
        (json!([{"name": "a", "op": "relu", "size": 1}]), ["node a: ", "size"]),
        (json!([{"name": "a", "op": "max_pool2d", "kernel": 2, "sride": 1}]), ["sride", "stride"]),
        (json!([{"name": "a", "op": "conv2d", "channels": 2, "kernel": 2, "paddin": 1}]), ["paddin", "padding"]),
    ] {
        let error = problem(nodes);
        assert!(error.starts_with("node a: ") && words.iter().all(|word| error.contains(word)), "{error}");
    }
    let read = |text: &str| serde_json::from_str::<Description>(text).unwrap_err().to_string();
    let twice = read(r#"{"input": {"shape": [1]}, "node": [{"name": "a", "op": "relu", "name": "b"}]}"#);
    assert!(twice.starts_with("a node has name twice"), "{twice}");
    let twice = read(r#"{"input": {"shape": [1]}, "node": [], "input": {"shape": [1]}}"#);
    assert!(twice.starts_with("duplicate field `input`"), "{twice}");
    assert!(read(r#"{"input": {"shape": [1]}, "nodes": []}"#).starts_with("unknown field `nodes`"));
    assert!(
        read(r#"{"input": {"shape": [1]}, "rule": [{"nodes": "a", "bits": 2}]}"#).starts_with("unknown field `bits`")
    );
}

#[test]
fn names_and_edges_that_cannot_be_name_the_node() {
    let relu = |name: &str, input: &str| json!({"name": name, "op": "relu", "input": input});
    for (nodes, expected) in [
        (json!([]), "there is no node; add [[node]] tables"),
        (json!([relu("", INPUT)]), "node name \"\" cannot be"),
        (json!([relu("a b", INPUT)]), "node name \"a b\" cannot be"),
        (json!([relu("ä", INPUT)]), "node name \"ä\" cannot be"),
        (json!([relu(INPUT, INPUT)]), "node name \"input\" cannot be"),
        (json!([relu("a.quantizer", INPUT)]), "node name \"a.quantizer\" cannot be"),
        (json!([relu("a", INPUT), relu("b", "a"), relu("a", "b")]), "node name \"a\" is used twice"),
        (json!([relu("a", "b"), relu("b", "a")]), "node a: it reads \"b\", which does not stand before it"),
        (json!([relu("a", "a")]), "node a: it reads \"a\", which does not stand before it"),
        (json!([relu("a", "inptu")]), "node a: it reads \"inptu\", which is no node; did you mean input?"),
        (
            json!([relu("block1", INPUT), relu("b", "blok1")]),
            "node b: it reads \"blok1\", which is no node; did you mean block1?",
        ),
        (json!([{"name": "a", "op": "relu", "input": [INPUT, INPUT]}]), "node a: it reads 2 values, and must read 1"),
        (json!([{"name": "a", "op": "relu", "input": []}]), "node a: it reads 0 values, and must read 1"),
        (json!([{"name": "a", "op": "add"}]), "node a: it reads 1 values, and must read 2; name them in input"),
    ] {
        let error = problem(nodes);
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
    let quantiser = json!([{"name": "a.quantizer", "op": "quantize", "bits": 2, "lowest": 0, "highest": 3}]);
    network(quantiser).unwrap().check().unwrap();
    let itself = network(json!([{"name": "a", "op": "add", "input": [INPUT, INPUT]}])).unwrap();
    itself.check().unwrap();
}

#[test]
fn sizes_that_do_not_fit_name_the_node() {
    let (flatten, patches) =
        (json!({"name": "flat", "op": "flatten"}), json!({"name": "cut", "op": "patches", "size": 2}));
    for (nodes, expected) in [
        (
            json!([
                {"name": "a", "op": "conv2d", "channels": 3, "kernel": 1},
                {"name": "b", "op": "add", "input": [INPUT, "a"]},
            ]),
            "node b: adds values of one shape, but gets 2 x 8 x 6 and 3 x 8 x 6",
        ),
        (json!([{"name": "a", "op": "linear", "outputs": 3}]), "node a: takes [features] or tokens"),
        (json!([flatten, {"name": "a", "op": "conv2d", "channels": 3, "kernel": 1}]), "node a: takes an image"),
        (json!([flatten, {"name": "a", "op": "max_pool2d", "kernel": 1}]), "node a: takes an image"),
        (json!([flatten, {"name": "a", "op": "avg_pool2d", "kernel": 1}]), "node a: takes an image"),
        (json!([flatten, {"name": "a", "op": "patches", "size": 1}]), "node a: takes an image"),
        (json!([flatten, {"name": "a", "op": "global_mean"}]), "node a: takes an image"),
        (json!([patches, {"name": "a", "op": "batch_norm"}]), "node a: takes an image"),
        (json!([{"name": "a", "op": "layer_norm"}]), "node a: takes [features] or tokens"),
        (json!([{"name": "a", "op": "class_token"}]), "node a: takes tokens [tokens, width], but gets 2 x 8 x 6;"),
        (json!([flatten, {"name": "a", "op": "take_token"}]), "node a: takes tokens [tokens, width], but gets 96;"),
        (json!([flatten, {"name": "a", "op": "position_embedding"}]), "node a: takes tokens"),
        (json!([flatten, {"name": "a", "op": "attention", "heads": 1}]), "node a: takes tokens"),
        (json!([patches, {"name": "a", "op": "take_token", "index": 12}]), "node a: index 12 is beyond the 12 tokens"),
        (json!([{"name": "a", "op": "patches", "size": [3, 2]}]), "node a: the height 8 must be a multiple of 3"),
        (json!([{"name": "a", "op": "patches", "size": [8, 4]}]), "node a: the width 6 must be a multiple of 4"),
        (json!([{"name": "a", "op": "patches", "size": [0, 2]}]), "node a: a shape of 0 x 2 has no values"),
        (json!([patches, {"name": "a", "op": "attention", "heads": 2}]), "node a: the width of a token"),
        (json!([patches, {"name": "a", "op": "attention", "heads": 0}]), "node a: a shape of 0 has no values"),
        (
            json!([{"name": "a", "op": "batch_norm", "epsilon": 0}]),
            "node a: epsilon is 0; it must be finite and above 0",
        ),
        (json!([{"name": "a", "op": "batch_norm", "momentum": 1e300}]), "node a: momentum is inf; it must be finite"),
        (
            json!([flatten, {"name": "a", "op": "layer_norm", "epsilon": -1}]),
            "node a: epsilon is -1; it must be finite",
        ),
        (json!([{"name": "a", "op": "conv2d", "channels": 0, "kernel": 1}]), "node a: channels, groups, sizes"),
        (json!([{"name": "a", "op": "conv2d", "channels": 2, "kernel": [1, 0]}]), "node a: channels, groups, sizes"),
        (json!([{"name": "a", "op": "conv2d", "channels": 2, "kernel": 1, "groups": 0}]), "node a: channels, groups"),
        (
            json!([{"name": "a", "op": "conv2d", "channels": 3, "kernel": 1, "groups": 2}]),
            "node a: 2 groups must divide",
        ),
        (
            json!([{"name": "a", "op": "conv2d", "channels": 3, "kernel": 7}]),
            "node a: a kernel of extent 7 does not fit",
        ),
        (json!([{"name": "a", "op": "max_pool2d", "kernel": [9, 1]}]), "node a: a kernel of extent 9 does not fit"),
        (json!([{"name": "a", "op": "avg_pool2d", "kernel": 2, "stride": 0}]), "node a: channels, groups, sizes"),
        (json!([flatten, {"name": "a", "op": "linear", "outputs": 0}]), "node a: a shape of 0 has no values"),
        (
            json!([{"name": "a", "op": "quantize", "bits": 9, "lowest": 0, "highest": 1}]),
            "node a: quantize has 9 bits; possible are 1 to 8",
        ),
        (
            json!([{"name": "a", "op": "quantize", "bits": 2, "lowest": 0, "highest": 4}]),
            "node a: levels 0..=4 are not possible",
        ),
        (
            json!([{"name": "a", "op": "quantize", "bits": 8, "lowest": i32::MIN, "highest": i32::MAX}]),
            "node a: levels -2147483648..=2147483647 are not possible",
        ),
    ] {
        let error = problem(nodes);
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
}

#[test]
fn huge_sizes_are_refused_before_anything_is_allocated() {
    let flatten = json!({"name": "flat", "op": "flatten"});
    let conv = |field: &str, size: usize| {
        let mut conv = json!({"name": "a", "op": "conv2d", "channels": 2, "kernel": 1});
        conv[field] = size.into();
        problem(json!([conv]))
    };
    let overflow = "node a: the sizes multiply to more than can be addressed";
    assert_eq!(conv("padding", usize::MAX), overflow);
    assert_eq!(conv("channels", usize::MAX), overflow);
    assert!(conv("kernel", usize::MAX).starts_with("node a: a kernel of extent 18446744073709551615"));
    assert!(conv("padding", 1 << 20).starts_with("node a: one item would have "));
    assert!(conv("channels", 1 << 24).starts_with("node a: one item would have "));
    let mut wide = json!({"name": "a", "op": "conv2d", "channels": 2, "kernel": 2});
    wide["dilation"] = usize::MAX.into();
    assert!(problem(json!([wide])).starts_with("node a: a kernel") || problem(json!([wide])) == overflow);
    let linear = |name: &str, outputs: usize| json!({"name": name, "op": "linear", "outputs": outputs});
    let values = problem(json!([flatten, linear("a", usize::MAX)]));
    assert_eq!(values, "node a: one item would have 18446744073709551615 values here; the limit is 268435456");
    let parameters = problem(json!([flatten, linear("a", 1 << 22)]));
    assert_eq!(parameters, "node a: the nodes up to here have 406847488 parameters; the limit is 268435456");
    // Each alone would pass.
    let sum = problem(json!([flatten, linear("a", 1 << 21), linear("b", 64)]));
    assert!(sum.starts_with("node b: the nodes up to here have "), "{sum}");
    for shape in
        [vec![], vec![0], vec![2, 2], vec![1, 2, 3, 4], vec![1, 0, 2], vec![(1 << 28) + 1], vec![usize::MAX; 3]]
    {
        let nodes = vec![node("a", Relu {}, &[INPUT])];
        let network = Description { input: InputShape { shape: shape.clone() }, nodes, rules: Vec::new() };
        assert_eq!(network.check().unwrap_err(), DescriptionError::Input { shape });
    }
}

fn size() -> impl Strategy<Value = usize> {
    let huge = vec![1 << 14, 1 << 28, (1 << 28) + 1, 1 << 32, 1 << 62, usize::MAX / 2, usize::MAX - 1, usize::MAX];
    prop_oneof![12 => 1usize..4, 2 => 0usize..20, 1 => prop::sample::select(huge)]
}

fn pair() -> impl Strategy<Value = [usize; 2]> {
    prop_oneof![3 => size().prop_map(|size| [size; 2]), 1 => prop::array::uniform2(size())]
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![Just(1e-5f32), Just(0.1), any::<f32>()]
}

fn op() -> impl Strategy<Value = Op> {
    let conv = (size(), pair(), pair(), pair(), pair(), size(), any::<bool>());
    let conv = conv.prop_map(|(channels, kernel, stride, padding, dilation, groups, bias)| {
        Op::from(Conv2d { channels, kernel, stride, padding, dilation, groups, bias })
    });
    let levels = (0u32..10, any::<i32>(), any::<i32>(), any::<bool>());
    let small = (0u32..10, -9i32..9, -9i32..9, any::<bool>());
    let quantize = prop_oneof![levels, small]
        .prop_map(|(bits, lowest, highest, multiply)| Op::from(Quantize { bits, lowest, highest, multiply }));
    let simple = vec![
        Op::from(Relu {}),
        Gelu {}.into(),
        Add {}.into(),
        GlobalMean {}.into(),
        Flatten {}.into(),
        ClassToken {}.into(),
        PositionEmbedding {}.into(),
    ];
    prop_oneof![
        conv,
        quantize,
        prop::sample::select(simple),
        (size(), any::<bool>()).prop_map(|(outputs, bias)| Op::from(Linear { outputs, bias })),
        (number(), number()).prop_map(|(epsilon, momentum)| Op::from(BatchNorm { epsilon, momentum })),
        number().prop_map(|epsilon| Op::from(LayerNorm { epsilon })),
        (pair(), pair()).prop_map(|(kernel, stride)| Op::from(MaxPool2d { kernel, stride })),
        (pair(), pair()).prop_map(|(kernel, stride)| Op::from(AvgPool2d { kernel, stride })),
        pair().prop_map(|size| Op::from(Patches { size })),
        prop_oneof![
            size().prop_map(|index| Op::from(TakeToken { index })),
            size().prop_map(|heads| Op::from(Attention { heads })),
        ],
    ]
}

/// Nodes n0, n1, ... that read the one before, mostly, and now and then any, with other names here and there.
fn description() -> impl Strategy<Value = Description> {
    let edge = prop_oneof![8 => Just(None::<usize>), 1 => (0usize..9).prop_map(Some)];
    let name = prop_oneof![20 => Just(None::<String>), 1 => "[a-n0-9. _é]{0,3}".prop_map(Some)];
    let count = prop_oneof![8 => Just(0usize), 1 => 0usize..4];
    let nodes = prop::collection::vec((op(), name, edge.clone(), edge, count), 0..8);
    let shape = prop_oneof![
        4 => prop::array::uniform3(1usize..9).prop_map(|shape| shape.to_vec()),
        1 => prop::collection::vec(size(), 0..5),
    ];
    let rule =
        (0u32..40, "[a-n*]{0,3}").prop_map(|(bits, nodes)| Rule { nodes, weight_bits: Some(bits), ..Rule::all() });
    (shape, nodes, prop::collection::vec(rule, 0..2)).prop_map(|(shape, drawn, rules)| {
        let mut nodes: Vec<Node> = Vec::new();
        for (place, (op, name, first, second, more)) in drawn.into_iter().enumerate() {
            let before = nodes.last().map_or(INPUT, |node| node.name.as_str()).to_string();
            let source = |edge: Option<usize>| match edge {
                None => before.clone(),
                Some(0) => INPUT.to_string(),
                Some(place) => format!("n{}", place - 1),
            };
            let mut inputs = vec![source(first)];
            if op.kind() == "add" {
                inputs.push(source(second));
            }
            // Too many or none.
            match more {
                0 => {}
                1 => inputs.clear(),
                count => inputs.extend(vec![INPUT.to_string(); count]),
            }
            nodes.push(Node { name: name.unwrap_or_else(|| format!("n{place}")), op, inputs });
        }
        Description { input: InputShape { shape }, nodes, rules }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_nodes_are_a_network_within_the_limits_or_an_error(description in description()) {
        match description.check() {
            Ok(reports) => {
                prop_assert_eq!(reports.len(), description.nodes.len());
                for report in &reports {
                    let values: usize = report.output.iter().product();
                    prop_assert!(values > 0 && values <= MAX_ACTIVATION, "{:?}", report);
                }
                prop_assert!(reports.iter().map(|report| report.parameters).sum::<usize>() <= MAX_PARAMETERS);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn what_is_written_is_read(description in description()) {
        let text = serde_json::to_string(&description).unwrap();
        let read: Description = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &description);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
