variable "base_role_arn" {
  description = "The ARN of the operator's base role, which may assume this one"
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/.+$", var.base_role_arn))
    error_message = "It has to match arn:[a-z-]+:iam::[0-9]{12}:(role|user)/.+"
  }
}

variable "cluster_id" {
  description = "The operator's cluster id: its setting, or the UID of the namespace kube-system"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,64}$", var.cluster_id))
    error_message = "It has to match [A-Za-z0-9._-]{1,64}"
  }
}

variable "external_id" {
  description = "external_id of the AWSAccounts"
  type        = string
  default     = "e7b1f0c2-vpce-operator"

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@:/_-]{2,1224}$", var.external_id))
    error_message = "It has to match [A-Za-z0-9+=,.@:/_-]{2,1224}"
  }
}

variable "role_name" {
  description = "The name of the role in every account"
  type        = string
  default     = "vpce-operator"
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

resource "aws_iam_role" "vpce_operator" {
  name                 = var.role_name
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    "Version": "2012-10-17",
    "Statement": [
      {
        "Sid": "VpceOperator",
        "Effect": "Allow",
        "Principal": {
          "AWS": "${var.base_role_arn}"
        },
        "Action": "sts:AssumeRole",
        "Condition": {
          "StringEquals": {
            "sts:ExternalId": "${var.external_id}"
          }
        }
      }
    ]
  })
}

resource "aws_iam_role_policy" "vpce_operator" {
  name = var.role_name
  role = aws_iam_role.vpce_operator.id

  policy = jsonencode({
    "Version": "2012-10-17",
    "Statement": [
      {
        "Sid": "Read",
        "Effect": "Allow",
        "Action": [
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeVpcEndpoints"
        ],
        "Resource": "*"
      },
      {
        "Sid": "CreateVpcEndpointWithClusterTag",
        "Effect": "Allow",
        "Action": "ec2:CreateVpcEndpoint",
        "Resource": "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:vpc-endpoint/*",
        "Condition": {
          "StringEquals": {
            "aws:RequestTag/silvermullet.com/cluster": "${var.cluster_id}"
          }
        }
      },
      {
        "Sid": "CreateSecurityGroupWithClusterTag",
        "Effect": "Allow",
        "Action": "ec2:CreateSecurityGroup",
        "Resource": "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:security-group/*",
        "Condition": {
          "StringEquals": {
            "aws:RequestTag/silvermullet.com/cluster": "${var.cluster_id}"
          }
        }
      },
      {
        "Sid": "CreateInVpc",
        "Effect": "Allow",
        "Action": [
          "ec2:CreateSecurityGroup",
          "ec2:CreateVpcEndpoint"
        ],
        "Resource": "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:vpc/*"
      },
      {
        "Sid": "UseSubnetsAndGroups",
        "Effect": "Allow",
        "Action": [
          "ec2:CreateVpcEndpoint",
          "ec2:ModifyVpcEndpoint"
        ],
        "Resource": [
          "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:security-group/*",
          "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:subnet/*"
        ]
      },
      {
        "Sid": "TagWhatIsCreated",
        "Effect": "Allow",
        "Action": "ec2:CreateTags",
        "Resource": [
          "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:security-group/*",
          "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:vpc-endpoint/*"
        ],
        "Condition": {
          "StringEquals": {
            "ec2:CreateAction": [
              "CreateSecurityGroup",
              "CreateVpcEndpoint"
            ]
          }
        }
      },
      {
        "Sid": "ChangeOwnEndpoints",
        "Effect": "Allow",
        "Action": [
          "ec2:CreateTags",
          "ec2:DeleteTags",
          "ec2:DeleteVpcEndpoints",
          "ec2:ModifyVpcEndpoint"
        ],
        "Resource": "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:vpc-endpoint/*",
        "Condition": {
          "StringEquals": {
            "aws:ResourceTag/silvermullet.com/cluster": "${var.cluster_id}"
          }
        }
      },
      {
        "Sid": "ChangeOwnSecurityGroups",
        "Effect": "Allow",
        "Action": [
          "ec2:AuthorizeSecurityGroupEgress",
          "ec2:AuthorizeSecurityGroupIngress",
          "ec2:CreateTags",
          "ec2:DeleteSecurityGroup",
          "ec2:DeleteTags",
          "ec2:RevokeSecurityGroupEgress",
          "ec2:RevokeSecurityGroupIngress",
          "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
          "ec2:UpdateSecurityGroupRuleDescriptionsIngress"
        ],
        "Resource": "arn:${data.aws_partition.current.partition}:ec2:*:${data.aws_caller_identity.current.account_id}:security-group/*",
        "Condition": {
          "StringEquals": {
            "aws:ResourceTag/silvermullet.com/cluster": "${var.cluster_id}"
          }
        }
      },
      {
        "Sid": "NoOtherTagKeys",
        "Effect": "Deny",
        "Action": "ec2:CreateTags",
        "Resource": "*",
        "Condition": {
          "ForAnyValue:StringLike": {
            "aws:TagKeys": [
              "*k8s.aws/*",
              "*k8s.io/*",
              "*karpenter.sh/*",
              "*kubernetes.io/*",
              "eks:*"
            ]
          }
        }
      }
    ]
  })
}

output "role_arn" {
  description = "role_arn of the AWSAccount"
  value       = aws_iam_role.vpce_operator.arn
}
