"""The AWS wire: unmodified AWS clients call Masthead by changing their endpoint. The only room that knows AWS."""
