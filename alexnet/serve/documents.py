"""What the OpenAPI document says beyond the signatures: bodies that are pictures, answers with examples, problems."""

ABOUT = ("A trained AlexNet in use. A picture is sent as raw bytes, in a multipart form, or as base64 in JSON; nothing is fetched, "
         "and no picture is kept. Errors are problem+json (RFC 9457).")
TAGS = [{"name": "pictures", "description": "Ask about pictures."}, {"name": "model", "description": "What answers here."},
        {"name": "health", "description": "Alive, ready, and how much was done."},
        {"name": "inference", "description": "The Open Inference Protocol, version 2."}]
PROBLEM = {"type": "object", "required": ["type", "title", "status", "detail"], "properties": {
    "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}}}
WHY = {
    400: ("The picture, or the body around it, cannot be read.", "the picture cannot be read: not a picture in a known format."),
    401: ("The service wants its key.", "this service wants its key: Authorization: Bearer KEY, or X-API-Key: KEY."),
    403: ("A page of another site asked.", "pages of other sites may not ask this service."),
    404: ("There is no such thing here.", "this service has no index; start it with --index INDEX."),
    408: ("The body came too slowly.", "the body did not arrive within 20 seconds."),
    413: ("Too many bytes, pixels, frames, pictures or values.", "the body is larger than the 20,000,000 bytes that are read."),
    415: ("This kind of body is not read.", "'text/plain' is not read."),
    421: ("The service does not answer under this name.", "the service does not answer under this name."),
    422: ("Something in the request is not valid.", "top: Input should be greater than or equal to 1."),
    429: ("Too much at once; Retry-After says when to come again.", "too many pictures are waiting: try again in a second."),
    503: ("Busy beyond the deadline, or ending; Retry-After says when to come again.", "the service is ending."),
}
OTHER = {"index": 5, "id": "coins", "name": "coins", "probability": 0.0412}
ROW = {"index": 3, "id": "cat", "name": "cat", "probability": 0.8731}
PREDICTED = {"predictions": [{"path": "cat.jpg", "top": [ROW, OTHER]}]}
NUMBER, TEXT, WHOLE = {"type": "number"}, {"type": "string"}, {"type": "integer"}


def problems(*statuses):
    return {status: {"description": WHY[status][0], "content": {"application/problem+json": {
        "schema": PROBLEM, "example": {"type": "about:blank", "title": "", "status": status, "detail": WHY[status][1]}}}}
        for status in statuses}


def objects(**properties):
    return {"type": "object", "required": list(properties), "properties": properties}


def lists(of):
    return {"type": "array", "items": of}


def answered(schema, example):
    return {200: {"description": "The answer.", "content": {"application/json": {"schema": schema, "example": example}}}}


ANY = problems(400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503)
GIVEN = {"oneOf": [TEXT | {"contentEncoding": "base64"}, {"type": "object", "required": ["data"], "properties": {
    "name": TEXT, "data": TEXT | {"contentEncoding": "base64"}}}]}
BODY = {"requestBody": {"required": True, "content": {
    "image/*": {"schema": TEXT | {"format": "binary"}},
    "application/octet-stream": {"schema": TEXT | {"format": "binary"}},
    "multipart/form-data": {"schema": {"type": "object", "properties": {"pictures": lists(TEXT | {"format": "binary"})}}},
    "application/json": {"schema": {"type": "object", "required": ["pictures"],
                                    "properties": {"pictures": lists(GIVEN) | {"minItems": 1}}},
                         "example": {"pictures": [{"name": "cat.jpg", "data": "/9j/4AAQSkZJRg..."}]}}}}}
UNREAD = objects(path=TEXT, error=TEXT)


def each(**properties):
    return {"oneOf": [objects(path=TEXT, **properties), UNREAD]}


def route(schema, example):
    return {"openapi_extra": BODY, "responses": answered(schema, example) | ANY}


CLASS = objects(index=WHOLE, id=TEXT, name=TEXT, probability=NUMBER)
PREDICT = route(objects(predictions=lists(each(top=lists(CLASS)))), PREDICTED)
FEATURES = route(objects(layer=TEXT, features=lists(each(features=lists(NUMBER)))),
                 {"layer": "fc7", "features": [{"path": "cat.jpg", "features": [0.0, 1.25, 0.0]}]})
SEARCH = route(objects(results=lists(each(neighbours=lists(objects(position=WHOLE, distance=NUMBER))))),
               {"results": [{"path": "cat.jpg", "neighbours": [{"position": 17, "distance": 4.2, "id": "cat", "class": "cat"}]}]})
EXPLAIN = route(objects(explanations=lists(each(index=WHOLE, name=TEXT, square=TEXT, overlay=TEXT, heat=TEXT))),
                {"explanations": [{"path": "cat.jpg", "index": 3, "id": "cat", "name": "cat", "probability": 0.8731,
                                   "how": "occlusion", "square": "data:image/png;base64,...",
                                   "overlay": "data:image/png;base64,...", "heat": "data:image/png;base64,..."}]})
MODEL = {"responses": answered({"type": "object"}, {"name": "default", "net": "small64", "licence": "...", "classes": []})
         | problems(401, 403, 421)}
PNG = {200: {"description": "A PNG.", "content": {"image/png": {}}}} | problems(401, 403, 404, 421, 422)
BUSY, GONE = problems(503, 421), problems(400, 401, 403, 404, 408, 413, 422, 429)
INFER = {"requestBody": {"required": True, "content": {"application/json": {
    "schema": {"type": "object", "required": ["inputs"]},
    "example": {"inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [1], "data": ["/9j/4AAQSkZJRg..."]}]}}}}}
