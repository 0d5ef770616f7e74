//! Bounds what functions make of little: they ask no memory limit. Decides per function whether it may be called, and how many bytes
//! one call may make; a function that is not listed here is refused, so that a new one is looked at first.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::utils::take_function_args;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::logical_expr_common::type_coercion::binary::BinaryTypeCoercer;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as PhysicalBinaryExpr, Column};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{Visit, Visitor};

use crate::limits::{BYTES_PER_CELL, GROWING_BYTES, LITERAL_BYTES};

/// How large a function's result can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Growth {
    /// A small multiple of one argument, or of a constant.
    No,
    /// All arguments together.
    Sum,
    /// All arguments together, and the first one between each two.
    Joined,
    /// The third argument for every occurrence of the second in the first.
    Replaced,
    /// The argument at this place for every byte of the first.
    EveryByte(usize),
    /// So many times the arguments.
    Times(usize),
}

/// What may be called. Left out on purpose: those that make as many elements or characters as a number says (`repeat`, `lpad`, `rpad`,
/// `range`, `generate_series`, `array_repeat`, `array_resize`), or as two lists have pairs (`array_replace`, `array_to_string`,
/// `arrays_zip`).
pub(crate) fn growth(function: &str) -> Option<Growth> {
    Some(match function {
        // Texts.
        "ascii" | "bit_length" | "btrim" | "character_length" | "chr" | "contains" | "ends_with" | "find_in_set"
        | "initcap" | "left" | "levenshtein" | "lower" | "ltrim" | "octet_length" | "reverse" | "right" | "rtrim"
        | "split_part" | "starts_with" | "strpos" | "substr" | "substr_index" | "to_hex" | "upper" | "uuid"
        | "decode" | "encode" | "regexp_count" | "regexp_instr" | "regexp_like" | "regexp_match" => Growth::No,
        // Numbers.
        "abs" | "acos" | "acosh" | "asin" | "asinh" | "atan" | "atan2" | "atanh" | "cbrt" | "ceil" | "cos" | "cosh"
        | "cot" | "degrees" | "exp" | "factorial" | "floor" | "gcd" | "isnan" | "iszero" | "lcm" | "ln" | "log"
        | "log10" | "log2" | "nanvl" | "pi" | "power" | "radians" | "random" | "round" | "signum" | "sin" | "sinh"
        | "sqrt" | "tan" | "tanh" | "trunc" => Growth::No,
        // Times.
        "current_date"
        | "current_time"
        | "date_bin"
        | "date_part"
        | "date_trunc"
        | "from_unixtime"
        | "make_date"
        | "make_time"
        | "now"
        | "to_date"
        | "to_local_time"
        | "to_time"
        | "to_timestamp"
        | "to_timestamp_micros"
        | "to_timestamp_millis"
        | "to_timestamp_nanos"
        | "to_timestamp_seconds"
        | "to_unixtime" => Growth::No,
        // Any values.
        "arrow_cast" | "arrow_metadata" | "arrow_typeof" | "coalesce" | "get_field" | "greatest" | "least"
        | "nullif" | "nvl" | "nvl2" | "union_extract" | "union_tag" | "version" => Growth::No,
        // Lists and maps.
        "array_any_value" | "array_dims" | "array_distance" | "array_distinct" | "array_element" | "array_except"
        | "array_has" | "array_has_all" | "array_has_any" | "array_intersect" | "array_length" | "array_max"
        | "array_min" | "array_ndims" | "array_pop_back" | "array_pop_front" | "array_position" | "array_positions"
        | "array_remove" | "array_remove_all" | "array_remove_n" | "array_reverse" | "array_slice" | "array_sort"
        | "cardinality" | "empty" | "flatten" | "map_entries" | "map_extract" | "map_keys" | "map_values"
        | "string_to_array" => Growth::No,
        "array_append" | "array_concat" | "array_prepend" | "array_union" | "concat" | "make_array" | "map"
        | "named_struct" | "overlay" | "struct" | CONCAT_OPERATOR => Growth::Sum,
        "concat_ws" => Growth::Joined,
        "replace" => Growth::Replaced,
        "regexp_replace" | "translate" => Growth::EveryByte(2),
        // Two characters of a format can become a whole date.
        "to_char" => Growth::Times(32),
        _ => return None,
    })
}

const CONCAT_OPERATOR: &str = "||";

/// Refuses calls among the arguments of a table function: they are computed while the statement is planned, before [`bounded`].
pub(crate) fn check_table_functions(statement: &ast::Statement) -> Result<()> {
    struct Factors;
    impl Visitor for Factors {
        type Break = String;
        fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> std::ops::ControlFlow<String> {
            let found = match factor {
                ast::TableFactor::Table { args: Some(args), .. } => args.args.visit(&mut Values),
                ast::TableFactor::Function { args, .. } => args.visit(&mut Values),
                ast::TableFactor::TableFunction { expr, .. } => expr.visit(&mut Values),
                _ => return std::ops::ControlFlow::Continue(()),
            };
            found.map_break(|text| format!("{text} is refused here: a table function takes plain values"))
        }
    }
    struct Values;
    impl Visitor for Values {
        type Break = String;
        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> std::ops::ControlFlow<String> {
            match expr {
                ast::Expr::Value(_)
                | ast::Expr::UnaryOp { .. }
                | ast::Expr::Nested(_)
                | ast::Expr::Cast { .. }
                | ast::Expr::TypedString { .. }
                | ast::Expr::Interval(_) => std::ops::ControlFlow::Continue(()),
                other => std::ops::ControlFlow::Break(other.to_string()),
            }
        }
    }
    match statement.visit(&mut Factors) {
        std::ops::ControlFlow::Continue(()) => Ok(()),
        std::ops::ControlFlow::Break(text) => Err(DataFusionError::Plan(text)),
    }
}

/// The plan with a bound around every function that makes much of little. All calls of a statement share [`GROWING_BYTES`].
pub(crate) fn bounded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut calls = 0_usize;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Unnest(_)) {
            let text = "unnest is refused: it repeats the rest of a row for every element, and nothing bounds that";
            return Err(DataFusionError::Plan(text.to_owned()));
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                calls = calls.saturating_add(usize::from(grows(expr)?));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if calls == 0 {
        return Ok(plan);
    }
    let limit = GROWING_BYTES / calls;
    let plan = plan
        .transform_up_with_subqueries(|node| node.map_expressions(|expr| expr.transform_up(|expr| bound(expr, limit))));
    plan.map(|plan| plan.data)
}

/// Refuses large constants: each is repeated for every row of a batch. `plan` is optimized, so that what can be computed is.
pub(crate) fn check_literals(plan: &LogicalPlan) -> Result<()> {
    let mut bytes = 0_usize;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    // Its values are compared, not repeated.
                    Expr::InList(_) => return Ok(TreeNodeRecursion::Jump),
                    Expr::Literal(value, _) => {
                        bytes = bytes.saturating_add(value.size().saturating_sub(size_of_val(value)));
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if bytes > LITERAL_BYTES {
        let text = format!("the statement's constants have {bytes} bytes, at most {LITERAL_BYTES} are possible");
        return Err(DataFusionError::Plan(text));
    }
    Ok(())
}

fn grows(expr: &Expr) -> Result<bool> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => Ok(true),
        Expr::ScalarFunction(call) => match growth(call.func.name()) {
            Some(growth) => Ok(growth != Growth::No),
            None => Err(DataFusionError::Plan(format!(
                "the function {} is refused: nothing bounds what it makes",
                call.func.name()
            ))),
        },
        _ => Ok(false),
    }
}

fn bound(expr: Expr, limit: usize) -> Result<Transformed<Expr>> {
    if !grows(&expr)? {
        return Ok(Transformed::no(expr));
    }
    let (inner, args) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
            (Arc::new(ScalarUDF::new_from_impl(ConcatOperator::new())), vec![*left, *right])
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => (func, args),
        other => return Ok(Transformed::no(other)),
    };
    let growth = growth(inner.name()).unwrap_or(Growth::No);
    let func = Arc::new(ScalarUDF::new_from_impl(Bounded { inner, growth, limit }));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
}

/// A function that is called only when its result is known to be small enough. It is not simplified by its own rules: they compute
/// results too.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    limit: usize,
}

impl ScalarUDFImpl for Bounded {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = estimate(self.growth, &args);
        if bytes > self.limit {
            let text = format!("{} makes too much at once: up to {bytes} bytes", self.inner.name());
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        self.inner.invoke_with_args(args)
    }
}

/// Upper bound of a call's result, bytes.
fn estimate(growth: Growth, call: &ScalarFunctionArgs) -> usize {
    let constant = call.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if constant { 1 } else { call.number_rows.max(1) };
    let sizes: Vec<Size> = call.args.iter().map(|arg| size(arg, rows)).collect();
    let sum = sizes.iter().fold(0_usize, |sum, size| sum.saturating_add(size.total));
    let of = |at: usize| sizes.get(at).copied().unwrap_or_default();
    match growth {
        Growth::No => 0,
        Growth::Sum => sum,
        Growth::Joined => sum.saturating_add(of(0).total.saturating_mul(sizes.len())),
        Growth::Replaced => {
            // An empty text occurs before every character.
            let places = (of(0).text / of(1).shortest.max(1)).saturating_add(rows);
            sum.saturating_add(places.saturating_mul(of(2).longest))
        }
        Growth::EveryByte(at) => sum.saturating_add(of(0).text.saturating_add(rows).saturating_mul(of(at).longest)),
        Growth::Times(times) => sum.saturating_mul(times),
    }
}

/// Sizes of an argument, bytes.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Of all rows, with what each takes beside its bytes.
    total: usize,
    /// Of all rows.
    text: usize,
    /// Of one row at least; known for constants alone.
    shortest: usize,
    /// Of one row at most.
    longest: usize,
}

fn size(arg: &ColumnarValue, rows: usize) -> Size {
    let cells = rows.saturating_mul(BYTES_PER_CELL);
    let (text, shortest, longest) = match arg {
        ColumnarValue::Scalar(value) => {
            let one = match value.try_as_str() {
                Some(text) => text.map_or(0, str::len),
                None => value.size(),
            };
            (one.saturating_mul(rows), one, one)
        }
        ColumnarValue::Array(array) => {
            let (total, longest) = array_size(array.as_ref());
            (total, 0, longest)
        }
    };
    Size { total: text.saturating_add(cells), text, shortest, longest }
}

/// Bytes of all rows, and of the longest or an upper bound of it.
fn array_size(array: &dyn Array) -> (usize, usize) {
    fn of(lengths: impl Iterator<Item = usize>) -> (usize, usize) {
        lengths.fold((0, 0), |(sum, longest), length| (sum.saturating_add(length), longest.max(length)))
    }
    match array.data_type() {
        DataType::Utf8 => of(array.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => of(array.as_string::<i64>().offsets().lengths()),
        // Many views may show the same bytes.
        DataType::Utf8View => of(array.as_string_view().lengths().map(|length| length as usize)),
        DataType::BinaryView => of(array.as_binary_view().lengths().map(|length| length as usize)),
        _ => {
            let bytes = array.to_data().get_slice_memory_size().unwrap_or(usize::MAX);
            (bytes, bytes)
        }
    }
}

/// `a || b` of texts as a function, so that it can be bounded.
#[derive(PartialEq, Eq, Hash, Debug)]
struct ConcatOperator {
    signature: Signature,
}

impl ConcatOperator {
    fn new() -> Self {
        ConcatOperator { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ConcatOperator {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        CONCAT_OPERATOR
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = take_function_args(CONCAT_OPERATOR, args)?;
        Ok(format!("{} || {}", left.schema_name(), right.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = take_function_args(CONCAT_OPERATOR, types)?;
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = take_function_args(CONCAT_OPERATOR, types)?;
        let (left, right) = BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = call.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { call.number_rows };
        let mut columns = Vec::with_capacity(call.args.len());
        for arg in call.args {
            columns.push(arg.into_array(rows)?);
        }
        let field =
            |(at, column): (usize, &Arc<dyn Array>)| Field::new(at.to_string(), column.data_type().clone(), true);
        let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let side = |at: usize| Arc::new(Column::new(&at.to_string(), at)) as Arc<dyn PhysicalExpr>;
        let made = PhysicalBinaryExpr::new(side(0), Operator::StringConcat, side(1)).evaluate(&batch)?;
        match made {
            ColumnarValue::Array(array) if constant => {
                datafusion::common::ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
            }
            made => Ok(made),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    /// An upgrade that brings a function must decide what it may make.
    #[test]
    fn every_function_is_allowed_or_refused_on_purpose() {
        let mut unknown: Vec<String> = SessionContext::new()
            .state()
            .scalar_functions()
            .values()
            .map(|function| function.name().to_owned())
            .filter(|name| growth(name).is_none())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        let refused = [
            "array_repeat",
            "array_replace",
            "array_replace_all",
            "array_replace_n",
            "array_resize",
            "array_to_string",
            "arrays_zip",
            "generate_series",
            "lpad",
            "range",
            "repeat",
            "rpad",
        ];
        assert_eq!(unknown, refused);
    }
}
