//! Strategies over libtorch that break the rules on purpose, one id each. What is harmless must leave training as it
//! would have been without them; the rest must end in an error of its own.

use querist_sdk_torch::prelude::*;

macro_rules! breakers {
    ($($(#[$doc:meta])* $name:ident $params:ident $id:literal: $way:expr;)*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            /// No parameters.
            #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields, default)]
            pub struct $params {}

            impl Strategy for $params {
                const ID: &'static str = $id;
                const SUMMARY: &'static str = "Breaks a rule on purpose";
                const PAPER: &'static str = "None";

                fn needs(&self) -> Vec<Need> {
                    vec![]
                }
            }

            impl TorchStrategy for $name {
                type Params = $params;
                const HOOKS: Hooks = Hooks { batch_loss: true, ..Hooks::NONE };

                fn new(_: $params, _: &Round, _: Option<&[u8]>) -> Result<Self> {
                    Ok(Self)
                }

                fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
                    let way: fn(&Round, &Minibatch) -> Result<Loss> = $way;
                    way(round, minibatch)
                }

                fn query(&mut self, _: &Round, query: &Query) -> Result<Selection> {
                    Ok(Selection { rows: (0..query.wanted()).collect(), ..Selection::default() })
                }
            }
        )*

        torch_package!($($name),*);
    };
}

breakers! {
    /// Breaks none: an extra loss of 0.
    Well WellParams "well": |_, m| Ok(Loss::extra(m.logits.sum(Kind::Float) * 0.0));

    /// Leaves gradients off.
    GradOff GradOffParams "grad-off": |_, _| {
        std::mem::forget(tch::no_grad_guard());
        Ok(Loss::none())
    };

    /// Draws from libtorch's generator, and seeds it.
    Draws DrawsParams "draws": |round, _| {
        let _ = Tensor::rand([100], (Kind::Float, round.task().device));
        tch::manual_seed(1);
        Ok(Loss::none())
    };

    /// Leaves libtorch with another number of threads.
    Threads ThreadsParams "threads": |_, _| {
        tch::set_num_threads(7);
        Ok(Loss::none())
    };

    /// Leaves libtorch with another default type.
    Dtype DtypeParams "dtype": |_, _| {
        set_default_dtype_to_double();
        Ok(Loss::none())
    };

    /// Leaves gradients in the task's parameters.
    Gradients GradientsParams "gradients": |round, _| {
        for weight in round.parameters()? {
            weight.sum(Kind::Float).backward();
        }
        Ok(Loss::none())
    };

    /// Steps the task's parameters itself.
    Steps StepsParams "steps": |round, _| {
        let _no_grad = tch::no_grad_guard();
        for mut weight in round.parameters()? {
            let _ = weight.f_mul_scalar_(0.5)?;
        }
        Ok(Loss::none())
    };

    /// Panics in a hook.
    Panics PanicsParams "panics": |_, m| panic!("on purpose, in step {}", m.step);

    /// Panics where gradients are off, by the function that does not survive it.
    PanicsWithoutGrad PanicsWithoutGradParams "panics-without-grad": |_, _| {
        tch::no_grad(|| panic!("on purpose, without gradients"))
    };

    /// Lets libtorch fail, by an error.
    TorchError TorchErrorParams "torch-error": |_, m| Ok(Loss::extra(m.logits.f_matmul(&m.logits)?));

    /// Lets libtorch fail, by a method that panics.
    TorchPanic TorchPanicParams "torch-panic": |_, m| Ok(Loss::extra(m.logits.matmul(&m.logits)));

    /// An extra loss that is not a number.
    NanLoss NanLossParams "nan-loss": |_, m| Ok(Loss::extra(m.logits.sum(Kind::Float) * f64::NAN));

    /// An extra loss that changes nothing, because it is on no graph.
    OffGraph OffGraphParams "off-graph": |_, m| Ok(Loss::extra(m.logits.detach().sum(Kind::Float)));

    /// An extra loss for each sample instead of one.
    Shape ShapeParams "shape": |_, m| Ok(Loss::extra(m.logits.sum_dim_intlist(1, false, Kind::Float)));

    /// An extra loss of another type.
    LossType LossTypeParams "loss-type": |_, m| Ok(Loss::extra(m.logits.sum(Kind::Double)));

    /// Weighs the task's loss by more than 1.
    Scale ScaleParams "scale": |_, _| Ok(Loss { extra: None, task_scale: 2.0 });

    /// Runs the backward pass of the task's graph itself.
    Backward BackwardParams "backward": |_, m| {
        let sum = m.logits.sum(Kind::Float);
        sum.backward();
        Ok(Loss::extra(sum))
    };

    /// Writes into the images that the task's forward pass still needs.
    Writes WritesParams "writes": |_, m| {
        let _ = m.images.shallow_clone().f_zero_()?;
        Ok(Loss::extra(m.logits.sum(Kind::Float)))
    };
}

fn set_default_dtype_to_double() {
    unsafe extern "C" {
        // `c10::set_default_dtype(caffe2::TypeMeta)`, whose argument is a number in a struct; the bindings lack it.
        #[link_name = "_ZN3c1017set_default_dtypeEN6caffe28TypeMetaE"]
        fn set_default_dtype(meta: u16);
    }
    const DOUBLE: u16 = 7;
    // SAFETY: it sets a global of libtorch to one of its types.
    unsafe { set_default_dtype(DOUBLE) };
}
