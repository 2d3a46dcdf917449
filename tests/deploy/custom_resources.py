"""Schemas of the fields that we use of resources that are not Kubernetes' own."""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 0}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    fields = {**required, **optional}
    return {"type": "object", "properties": fields, "required": [*required], "additionalProperties": False}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


def _resource(spec: dict[str, Any]) -> dict[str, Any]:
    return _object({"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, "spec": spec})


_LABELS: Final = {"type": "object", "additionalProperties": _TEXT}
_RULE: Final = _object({"alert": _TEXT, "expr": _TEXT}, **{"for": _TEXT}, labels=_LABELS, annotations=_LABELS)
_POLICY: Final = _object({"type": {"enum": ["Pods", "Percent"]}, "value": _NUMBER, "periodSeconds": _NUMBER})
_SCALING: Final = _object({"policies": _list(_POLICY)}, stabilizationWindowSeconds=_NUMBER)
_TRIGGER: Final = _object(
    {
        "type": {"const": "prometheus"},
        "metadata": _object({"serverAddress": _TEXT, "query": _TEXT, "threshold": _TEXT}, ignoreNullValues=_TEXT),
    },
    name=_TEXT,
)

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "monitoring.coreos.com/v1": {
        "PrometheusRule": _resource(_object({"groups": _list(_object({"name": _TEXT, "rules": _list(_RULE)}))})),
        "ServiceMonitor": _resource(
            _object(
                {
                    "selector": _object({"matchLabels": _LABELS}),
                    "endpoints": _list(
                        _object(
                            {"port": _TEXT},
                            path=_TEXT,
                            interval=_TEXT,
                            authorization=_object(
                                {"type": _TEXT, "credentials": _object({"name": _TEXT, "key": _TEXT})}
                            ),
                        )
                    ),
                }
            )
        ),
    },
    "keda.sh/v1alpha1": {
        "ScaledObject": _resource(
            _object(
                {"scaleTargetRef": _object({"name": _TEXT}), "triggers": _list(_TRIGGER)},
                minReplicaCount=_NUMBER,
                maxReplicaCount=_NUMBER,
                pollingInterval=_NUMBER,
                fallback=_object({"failureThreshold": _NUMBER, "replicas": _NUMBER}, behavior=_TEXT),
                advanced=_object(
                    {
                        "horizontalPodAutoscalerConfig": _object(
                            {"behavior": _object({}, scaleUp=_SCALING, scaleDown=_SCALING)}
                        )
                    }
                ),
            )
        ),
    },
}
"""By apiVersion and kind. Stricter than those of the operators: a field that we do not use yet is not in them."""
