"""Every pattern of the four models: it compiles without a warning, takes what it should and nothing else."""

import sys
import time
import unicodedata
import warnings

import pytest

from masthead.aws.models import load_models, read_model
from masthead.aws.patterns import compile_pattern

MODELS = load_models()
SHAPES = [shape for model in MODELS.values() for shape in model.shapes.values() if shape.pattern is not None]
ROLE, KMS = "arn:aws:iam::123456789012:role/r", "arn:aws:kms:us-east-1:123456789012:key/"
UUID = "01234567-0123-0123-0123-0123456789ab"

# Pattern: a text that it takes, one that it does not.
EXAMPLES = {
    ".*": ("any thing", "two\nlines"),
    r".*\S.*": ("  x ", "   "),
    "[-0-9a-zA-Z]+": ("sg-1", "sg_1"),
    "[0-9]+": ("17", "1.7"),
    r"[\-0-9a-zA-Z]+": ("subnet-1", "subnet/1"),
    r"[\.\-_/#A-Za-z0-9]*": ("/aws/x#1", "a b"),
    r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*": ("a\t\U0001f600\u00e9", "a\x01"),
    "[^:*]*": ("a/b", "a:b"),
    "[^:].*": ("AWS/EC2", ":x"),
    r"[^\r\n]": (",", "\n"),
    r"[^\r\n]|^$": ("", "\r"),
    "[a-z0-9]{8}-[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{12}": (UUID, UUID.upper()),
    "[a-zA-Z0-9-]+": ("d-1", "d_1"),
    "[a-zA-Z0-9._-]{1,128}": ("a.b", "a b"),
    r"[a-zA-Z0-9][\w!@#.-]+": ("flow#1", "#flow"),
    "[a-zA-Z0-9_.-]+": ("a_b.c-d", "a/b"),
    "[a-zA-Z0-9_.]+": ("a.b", "a-b"),
    "[a-zA-Z0-9_]+": ("a_b", "a.b"),
    r"\A\S[\p{Print}]*\z": ("x y~", " x"),
    r"\p{ASCII}*": ("a\tb", "\u00e9"),
    "^$|[a-zA-Z/_]+": ("Europe/Paris", "UTC+1"),
    r"^$|\.[0-9a-z!\-_.*'()]+": (".json", "json"),
    r"^(?!\s*$).+": (" x", "  "),
    r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$": ("\u00e9\u4e2d \u0663=1", "aws:x"),
    r"^(?!aws:)[^\x00-\x1f\x22]+$": ("\u00e9 x", 'a"b'),
    "^(NEW_SESSION)$|^[a-zA-Z0-9](-*[a-zA-Z0-9])*$": ("NEW_SESSION", "NEW_"),
    r"^([12]\d{3})-(1[0-2]|0[1-9])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)"
    r"(Z|(\+|\-)(0\d|1[0-2]):([0-5]\d)(\[[[:alnum:]\/\_]+\])?)$": (
        "2022-03-24T23:30:00+00:00[UTC]",
        "2022-03-24T23:30:00Z[UTC]",
    ),
    "^(https|s3)://([^/]+)/?(.*)$": ("s3://bucket/key", "http://bucket/key"),
    "^[0-9]{15}$": ("310150123456789", "31015012345678\u0663"),
    "^[0-9a-zA-Z-]*$": ("site-1", "site_1"),
    r"^[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$": ("aws:\u00e9", "a;b"),
    r"^[^\x00-\x1f\x22]*$": ("", "a\tb"),
    "^[a-zA-Z0-9](-*[a-zA-Z0-9])*": ("a--b", "a-"),
    "^[a-zA-Z0-9](-*[a-zA-Z0-9])*$": ("a-b", "-a"),
    r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*;\sExpires=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$": (
        "abc; Expires=2026-11-23T18:00:00Z",
        "abc; Expires=2026-11-23",
    ),
    r"^[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?$": ("a--b", "a-"),
    r"^[a-zA-Z0-9][a-zA-Z0-9\-_]*": ("air_1", "air 1"),
    r"^[a-zA-Z](?!.*--)(?!.*-$)[0-9a-zA-Z\-]*$": ("Db-1", "Db--1"),
    "^[a-zA-Z][a-zA-Z0-9_.]*$": ("t.x", "1t"),
    r"^[a-z](?!.*--)(?!.*-$)[0-9a-z\-]*$": ("db-1", "db-"),
    r"^\S+$": ("x", "x y"),
    "^arn:aws:private-networks:[a-z0-9-]+:[^:]*:.*$": (
        "arn:aws:private-networks:us-east-1:0:network/n",
        "arn:aws:s3:::b",
    ),
    "^s3://[a-z0-9].+$": ("s3://ab", "s3://-b"),
    r"^s3://[a-zA-Z0-9_\-\/ {}=]+$": ("s3://b/{{yyyyMMdd}}/", "s3://b/a.csv"),
    r"arn:([a-z\d-]+):.*:.*:.*:.+": ("arn:aws:lookoutmetrics:us-east-1:0:Alert:a", "arn:aws:x"),
    r"arn:([a-z\d-]+):.*:.*:secret:AmazonLookoutMetrics-.+": (
        "arn:aws:secretsmanager:us-east-1:0:secret:AmazonLookoutMetrics-x",
        "arn:aws:secretsmanager:us-east-1:0:secret:x",
    ),
    r"arn:.*:firehose:[a-zA-Z0-9\-]+:\d{12}:deliverystream/[a-zA-Z0-9._-]+": (
        "arn:aws:firehose:us-east-1:123456789012:deliverystream/s",
        "arn:aws:firehose:us-east-1:1:deliverystream/s",
    ),
    r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+": (ROLE, ROLE.replace("role", "user")),
    r"arn:.*:kms:[a-zA-Z0-9\-]+:\d{12}:(key|alias)/[a-zA-Z_0-9+=,.@\-_/]+": (KMS + UUID, KMS),
    r"arn:.*:s3:::[\w\.\-]{1,255}": ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket/key"),
    "arn:aws.*:kms:.*:[0-9]{12}:key/[a-z0-9]{8}-[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{12}": (
        KMS + UUID,
        KMS + "x",
    ),
}


def test_each_pattern_of_the_models_has_its_examples_and_no_example_is_left_over() -> None:
    assert {shape.pattern_text for shape in SHAPES} == set(EXAMPLES)


@pytest.mark.parametrize("text", sorted(EXAMPLES))
def test_a_pattern_compiles_without_a_warning_and_tells_good_from_bad(text: str) -> None:
    good, bad = EXAMPLES[text]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pattern = compile_pattern(text)
    assert pattern.fullmatch(good)
    assert not pattern.fullmatch(bad)


def test_the_letters_of_firehose_tags_are_those_of_unicode() -> None:
    pattern = compile_pattern(r"[\p{L}\p{Z}\p{N}_]")
    wrong = []
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        category = unicodedata.category(character)
        if bool(pattern.fullmatch(character)) != (category[0] in "LZN" or character == "_"):
            wrong.append((hex(point), category))
    assert wrong == []


def test_no_pattern_takes_long_at_the_greatest_length() -> None:
    for shape in SHAPES:
        assert shape.pattern is not None
        length = int(shape.most or 15)
        for unit in (" ", "a", "-", ":", "a-", "a:", "arn:aws:", "s3://", "/", "0"):
            text = (unit * length)[: length - 1] + "\n"
            began = time.thread_time()
            shape.pattern.fullmatch(text)
            assert time.thread_time() - began < 0.05, (shape.name, unit)


def test_the_own_models_hold_no_prose() -> None:
    for name in ("sagemaker-runtime", "firehose"):
        assert "documentation" not in str(read_model(name))
