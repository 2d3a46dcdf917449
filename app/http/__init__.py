"""All that knows of HTTP: routes, middleware, problem documents, forms, the OpenAPI document."""
