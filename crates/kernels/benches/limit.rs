//! How close the gemm-bound kernels come to what the `gemm` crate reaches on a 1024-cube in the same process.
//!
//! `cargo bench --bench limit` prints billions of operations a second (a multiplication and an addition are two), the best of
//! many calls, and the share of the cube's, each with all threads of the pool (`RAYON_NUM_THREADS`).

use std::hint::black_box;
use std::time::{Duration, Instant};

use gemm::{Parallelism, gemm};
use hardgrad_kernels::convolution::{Images, Wanted, conv2d, conv2d_backward};
use hardgrad_kernels::geometry::Conv2dShape;
use hardgrad_kernels::linear::{linear, linear_input_gradient, linear_weight_gradient};
use hardgrad_kernels::memory;
use hardgrad_kernels::random::Random;

const BATCH: usize = 128;
const CUBE: usize = 1024;
/// Rounds in which all kernels take turns, so that a disturbance meets all of them.
const ROUNDS: usize = 12;

fn main() {
    memory::keep_freed_memory();
    let mut kernels = vec![cube()];
    for (channels, side, kernel) in [([16, 16], 32, 3), ([32, 32], 16, 3), ([64, 64], 8, 3), ([32, 64], 14, 5)] {
        kernels.extend(convolutions(channels, side, kernel));
    }
    for sizes in [[128, 784, 512], [8192, 192, 768], [8192, 768, 192]] {
        kernels.extend(products(sizes));
    }
    let mut best = vec![Duration::MAX; kernels.len()];
    for _ in 0..ROUNDS {
        for (kernel, best) in kernels.iter_mut().zip(&mut best) {
            *best = (*best).min(fastest(&mut kernel.run));
        }
    }
    let speed = |index: usize| kernels[index].operations / best[index].as_secs_f64() / 1e9;
    println!("{} threads", rayon::current_num_threads());
    for (index, kernel) in kernels.iter().enumerate() {
        println!("{:44} {:7.0} GFLOP/s {:6.0} %", kernel.name, speed(index), 100.0 * speed(index) / speed(0));
    }
}

/// The shortest of a few calls.
fn fastest(run: &mut dyn FnMut()) -> Duration {
    let once = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed()
    };
    (0..5).map(once).min().unwrap_or(Duration::MAX)
}

struct Kernel {
    name: String,
    operations: f64,
    run: Box<dyn FnMut()>,
}

fn normal(len: usize, place: u32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Random::new(0, place, 0).fill_normal(&mut values);
    values
}

fn cube() -> Kernel {
    let (a, b, mut out) = (normal(CUBE * CUBE, 0), normal(CUBE * CUBE, 1), vec![0.0f32; CUBE * CUBE]);
    let run = move || {
        let side = CUBE as isize;
        // SAFETY: all three matrices hold CUBE rows of CUBE values.
        #[allow(unsafe_code)]
        unsafe {
            let (left, right, target) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
            let threads = Parallelism::Rayon(rayon::current_num_threads());
            gemm(
                CUBE, CUBE, CUBE, target, 1, side, false, left, 1, side, right, 1, side, 0.0, 1.0, false, false, false,
                threads,
            );
        }
        black_box(&out);
    };
    Kernel { name: format!("gemm crate, {CUBE}-cube"), operations: 2.0 * (CUBE as f64).powi(3), run: Box::new(run) }
}

fn convolutions(channels: [usize; 2], side: usize, kernel: usize) -> [Kernel; 3] {
    let [channels_in, channels_out] = channels;
    let shape = Conv2dShape {
        channels_in,
        channels_out,
        height: side,
        width: side,
        kernel: [kernel; 2],
        stride: [1, 1],
        padding: [kernel / 2; 2],
        dilation: [1, 1],
        groups: 1,
    };
    let operations = 2.0 * (BATCH * shape.output_len() * shape.patch_len()) as f64;
    let inputs = move || {
        let gradient = normal(BATCH * shape.output_len(), 2);
        (normal(BATCH * shape.input_len(), 0), normal(shape.weight_len(), 1), gradient)
    };
    let named = move |what: &str, run: Box<dyn FnMut()>| {
        let name = format!("conv2d {channels_in}->{channels_out} {side}x{side} {kernel}x{kernel}, {what}");
        Kernel { name, operations, run }
    };
    let backward = |wanted| {
        let (x, weight, gradient) = inputs();
        Box::new(move || {
            black_box(conv2d_backward(Images::Float(&x), &weight, &gradient, &shape, wanted));
        })
    };
    let (x, weight, _) = inputs();
    let (ones, zeros) = (vec![1.0; channels_out], vec![0.0; channels_out]);
    let forward = Box::new(move || {
        black_box(conv2d(Images::Float(&x), &weight, &shape, &ones, &zeros));
    });
    [
        named("forward", forward),
        named("input gradient", backward(Wanted { input: true, weight: false, bias: false })),
        named("weight gradient", backward(Wanted { input: false, weight: true, bias: false })),
    ]
}

fn products(sizes: [usize; 3]) -> [Kernel; 3] {
    let [rows, inputs, outputs] = sizes;
    let operations = 2.0 * (rows * inputs * outputs) as f64;
    let named = |what: &str, run: Box<dyn FnMut()>| {
        let name = format!("linear {rows}x{inputs}x{outputs}, {what}");
        Kernel { name, operations, run }
    };
    let values = || (normal(rows * inputs, 0), normal(inputs * outputs, 1), normal(rows * outputs, 2));
    let ((x, weight, _), (_, turned, back), (x_again, _, gradient)) = (values(), values(), values());
    [
        named(
            "forward",
            Box::new(move || {
                black_box(linear(&x, &weight, None, None, sizes));
            }),
        ),
        named(
            "input gradient",
            Box::new(move || {
                black_box(linear_input_gradient(&turned, &back, sizes));
            }),
        ),
        named(
            "weight gradient",
            Box::new(move || {
                black_box(linear_weight_gradient(&x_again, &gradient, sizes));
            }),
        ),
    ]
}
