use super::*;

#[test]
fn the_printed_defaults_are_taken_back_unchanged_and_valid() {
    let config = Config::of_recipe("qat").unwrap();
    config.check().unwrap();
    assert_eq!(Config::from_toml(&config.to_toml(), "x").unwrap(), config);
}

#[test]
fn a_part_of_a_config_keeps_the_other_defaults() {
    let config = Config::from_toml("[training]\nbatch_size = 7\nweight_decay = 1", "x").unwrap();
    assert_eq!((config.training.batch_size, config.training.weight_decay), (7, 1.0));
    assert_eq!(config.model, Config::default().model);
}

#[test]
fn misspelt_keys_are_errors_with_the_nearest_known_key() {
    let error = Config::from_toml("[training]\nbatchsize = 7", "a.toml").unwrap_err().to_string();
    assert!(error.contains("a.toml") && error.contains("did you mean training.batch_size?"), "{error}");
    let change = |change: &str| Config::default().with_changes(&[change.to_string()]);
    let error = change("quantization.weigth_bits=3").unwrap_err().to_string();
    assert!(error.contains("did you mean quantization.weight_bits?"), "{error}");
    // The right key in no section at all.
    let error = change("weight_bits=3").unwrap_err().to_string();
    assert!(error.contains("did you mean quantization.weight_bits?"), "{error}");
    let error = Config::of_recipe("qta").unwrap_err().to_string();
    assert!(error.contains("did you mean qat?"), "{error}");
}

#[test]
fn changes_take_numbers_lists_and_bare_words() {
    let changes = ["model.channels=[4, 8]", "quantization.weight_range=dorefa", "quantization.per_channel=false"];
    let config = Config::default().with_changes(&changes.map(String::from)).unwrap();
    assert_eq!(config.model.channels, [4, 8]);
    assert_eq!(config.quantization.weight_range, RangeMethod::Dorefa);
    config.check().unwrap();
}

#[test]
fn numbers_may_be_written_as_people_do() {
    let numbers =
        [(".001", 0.001), ("1.", 1.0), ("+.5", 0.5), ("-0.", 0.0), ("5e-4", 0.0005), (".2E-1", 0.02), ("1", 1.0)];
    for (text, expected) in numbers {
        let config = Config::default().with_changes(&[format!("training.weight_decay={text}")]).unwrap();
        assert_eq!(config.training.weight_decay, expected, "{text}");
    }
    // Words that Rust, too, reads as numbers stay words.
    let folder = Config::default().with_changes(&["data.directory=infinity".to_string()]).unwrap();
    assert_eq!(folder.data.directory, "infinity");
}

#[test]
fn a_trained_network_replaces_the_float_stage() {
    let mut config = Config::default();
    config.set_init_folder(Path::new("runs/qat-1"));
    config.check().unwrap();
    assert_eq!((config.init_folder().unwrap(), config.training.float_epochs), (PathBuf::from("runs/qat-1"), 0));
    let config = config.with_changes(&["training.quantized_epochs=0".to_string()]).unwrap();
    config.check().unwrap();
    assert_eq!(Config::from_toml(&config.to_toml(), "x").unwrap(), config);
}

#[test]
fn a_gradient_method_needs_quantised_weights() {
    let float = ["weight_bits", "first_layer_bits", "last_layer_bits"].map(|key| format!("quantization.{key}=32"));
    let config = Config::default().with_changes(&float).unwrap();
    config.check().unwrap();
    let error = config.with_changes(&["gradient.method=spsa".to_string()]).unwrap().check().unwrap_err();
    assert_eq!(error, ConfigError::NothingToProbe { method: "spsa" });
}

#[test]
fn values_of_the_wrong_type_or_range_name_the_key() {
    let with = |change: &str| {
        let config = Config::default().with_changes(&[change.to_string()]);
        config.and_then(|config| config.check().map(|()| config)).unwrap_err().to_string()
    };
    for (change, word) in [
        ("quantization.weight_bits=0", "quantization.weight_bits must be 1 to 8, or 32 for float32, got 0"),
        ("quantization.weight_bits=33", "got 33"),
        ("quantization.activation_bits=\"four\"", "quantization.activation_bits must be a whole number"),
        ("training.float_learning_rate=0", "training.float_learning_rate must be above 0"),
        ("training=3", "training must be a section"),
        ("quantization.weight_range=pact", "quantization.weight_range"),
        ("quantization.weight_range=wide", "wide"),
        ("model.kernel_size=4", "model.kernel_size must be odd"),
        ("seed=-1", "seed must be a whole number of at least 0"),
        ("batch", "expected key=value"),
        ("seed=1\nfoo=2", "seed must be a whole number"),
        ("training.float_epochs=0", "training.float_epochs must be at least 1 where the network begins with random"),
        ("training.weight_decay=.", "training.weight_decay must be a number"),
        ("gradient.directions=0", "gradient.directions must be a whole number from 1 to 65535, got 0"),
        ("gradient.beta_min=1.5", "gradient.beta_min must be from 0 to 1, got 1.5"),
        ("gradient.epsilon=0", "gradient.epsilon must be above 0 and at most 1000, got 0"),
        ("gradient.begin=1", "gradient.begin must be at least 0 and below 1"),
        ("gradient.method=fogz", "fogzo"),
    ] {
        let error = with(change);
        assert!(error.contains(word) && !error.contains('\n'), "{change}: {error}");
    }
}
