use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hardgrad::random::Random;

use super::{Size, tensor};
use crate::data::digits::{CLASSES, PIXELS};
use crate::streams;

/// What an experiment trains.
#[derive(Module, Debug)]
pub(crate) enum Learner {
    /// The logits themselves.
    Table(Table),
    /// Images to logits, choices to classes.
    Network(Network),
}

/// Logits `[variables, categories]`.
#[derive(Module, Debug)]
pub(crate) struct Table {
    logits: Param<Tensor<2>>,
}

/// A linear encoder, whose outputs are logits, and a linear decoder of the choices.
#[derive(Module, Debug)]
pub(crate) struct Network {
    /// `[pixels, variables * categories]`
    pub encoder: Param<Tensor<2>>,
    /// `[variables * categories, classes]`
    pub decoder: Param<Tensor<2>>,
    /// `[classes]`
    pub bias: Param<Tensor<1>>,
}

impl Learner {
    /// Logits from a normal distribution.
    pub fn table(size: Size, seed: u64, spread: f32) -> Self {
        let logits = normal([size.variables, size.categories], seed, 0, spread);
        Self::Table(Table { logits })
    }

    /// Weights from normal distributions that keep the size of the signal.
    pub fn network(size: Size, seed: u64) -> Self {
        let choices = size.variables * size.categories;
        // A sixteenth of the pixels is what is bright in a digit.
        let encoder = normal([PIXELS, choices], seed, 0, 0.25);
        let decoder = normal([choices, CLASSES], seed, 1, (size.variables as f32).sqrt().recip());
        let bias = Param::from_tensor(Tensor::zeros([CLASSES], &Device::flex().autodiff()));
        Self::Network(Network { encoder, decoder, bias })
    }

    /// The logits of a table, once a row.
    pub fn table_rows(&self, rows: usize) -> Tensor<3> {
        let Self::Table(table) = self else { panic!("objectives with a network compute their logits themselves") };
        let logits = table.logits.val();
        let [variables, categories] = logits.dims();
        logits.reshape([1, variables, categories]).expand([rows, variables, categories])
    }

    /// The network of an objective that has one.
    pub fn as_network(&self) -> &Network {
        let Self::Network(network) = self else { panic!("only objectives with a network ask for it") };
        network
    }
}

fn normal(shape: [usize; 2], seed: u64, place: u32, spread: f32) -> Param<Tensor<2>> {
    let mut values = vec![0.0; shape[0] * shape[1]];
    Random::new(seed, place, streams::OBJECTIVE_PARAMETERS).fill_normal(&mut values);
    let values: Tensor<2> = tensor(values, shape) * spread;
    Param::from_tensor(Tensor::from_data(values.into_data(), &Device::flex().autodiff()))
}
