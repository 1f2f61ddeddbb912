"""Choosing runs by what their indexes say: ``status == "completed" and params.lr < 0.1``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.record.index import Index

_FIELDS = {
    "name", "number", "id", "status", "description", "tags", "created", "ended",
    "metrics", "trials", "best",
}  # fmt: skip
STATUSES = ("running", "completed", "failed", "stopped", "killed")
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
Evaluate = Callable[[Mapping[str, Any]], Any]


def condition(text: str) -> Callable[[Index], bool]:
    """Return a function that tells whether a run fulfils an expression.

    It knows the run's ``name``, ``number``, ``id``, ``status``, ``description``, ``tags``,
    ``created``, ``ended``, ``params``, ``metrics`` (last values), ``trials`` (counts by state)
    and ``best``; numbers, strings and lists; comparisons, ``in``, ``and``, ``or``, ``not``.
    Parts are reached by ``params.lr`` or, for names that are no identifiers,
    ``metrics["valid/accuracy"]``. What a run does not have fulfils no comparison but ``!=``.

    Raises:
        WrongValue: The expression cannot be read, or asks for what is not there.
        WrongType: It is not a string.
    """
    if not isinstance(text, str):
        raise WrongType(f"where must be a string; got {type(text).__name__}: {text!r:.60}.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        evaluate = _compile(tree.body, text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, WrongValue):
            raise
        raise WrongValue(
            f"The condition {text!r:.200} cannot be read: {error}. "
            "For example: status == 'completed' and params.lr < 0.1"
        ) from None

    def holds(index: Index) -> bool:
        return bool(evaluate({**vars(index), "params": index.parameters}))

    return holds


def check_statuses(statuses: Iterable[str]) -> frozenset[str]:
    """Return statuses as a set.

    Raises:
        WrongValue: One that no run can have; the nearest is offered.
    """
    wanted = frozenset(statuses)
    for each in sorted(wanted - set(STATUSES)):
        raise WrongValue(f"No run has the status {each!r}.{suggest(each, STATUSES)}")
    return wanted


def mentions(index: Index, text: str) -> bool:
    """Whether all words of ``text`` are in a run's name, description, tags or parameters' names.

    Upper and lower case are the same.
    """
    parts = [index.id, index.description, *index.tags, *index.parameters]
    whole = "\n".join(parts).casefold()
    return all(word in whole for word in text.casefold().split())


def _compile(node: ast.expr, text: str) -> Evaluate:
    match node:
        case ast.Constant(value=value):
            return lambda known: value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            parts = [_compile(each, text) for each in items]
            return lambda known: [part(known) for part in parts]
        case ast.Name(id=name):
            if name not in _FIELDS | {"params"}:
                raise WrongValue(
                    f"The condition {text!r} asks for {name!r}, which no run has."
                    + suggest(name, sorted(_FIELDS | {"params"}))
                )
            return lambda known: known[name]
        case ast.Attribute(value=whole, attr=name):
            return _part(_compile(whole, text), name)
        case ast.Subscript(value=whole, slice=ast.Constant(value=key)):
            return _part(_compile(whole, text), key)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compile(operand, text)
            return lambda known: not inner(known)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return lambda known: -value
        case ast.BoolOp(op=junction, values=values):
            terms = [_compile(each, text) for each in values]
            every = all if isinstance(junction, ast.And) else any
            return lambda known: every(term(known) for term in terms)
        case ast.Compare(left=left, ops=operations, comparators=comparators):
            return _comparison(left, operations, comparators, text)
        case _:
            raise WrongValue(
                f"The condition {text!r:.200} holds {ast.unparse(node)!r:.100}, which is not "
                "allowed. Compare fields with and, or, not: params.lr < 0.1 and 'best' in tags"
            )


def _part(whole: Evaluate, key: Any) -> Evaluate:
    def evaluate(known: Mapping[str, Any]) -> Any:
        value = whole(known)
        if isinstance(value, dict):
            return cast("dict[Any, Any]", value).get(key)
        try:
            return value[key]
        except (TypeError, LookupError):
            return None

    return evaluate


def _comparison(
    left: ast.expr, operations: list[ast.cmpop], comparators: list[ast.expr], text: str
) -> Evaluate:
    terms = [_compile(each, text) for each in (left, *comparators)]
    compare: list[Callable[[Any, Any], bool]] = []
    for each in operations:
        if type(each) not in _COMPARE:
            raise WrongValue(f"The condition {text!r} compares with 'is'; use == or !=.")
        compare.append(_COMPARE[type(each)])

    def evaluate(known: Mapping[str, Any]) -> bool:
        values = [term(known) for term in terms]
        try:
            return all(compare[i](values[i], values[i + 1]) for i in range(len(compare)))
        except TypeError:  # a text against a number, or against what is not there
            return False

    return evaluate
