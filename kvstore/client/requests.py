"""What a transaction is made of, for whoever calls `Client.txn`: the API's own messages."""

from kvstore.wire import messages

Compare = messages.Compare
RequestOp = messages.RequestOp
TxnRequest = messages.TxnRequest
PutRequest = messages.PutRequest
RangeRequest = messages.RangeRequest
DeleteRangeRequest = messages.DeleteRangeRequest
