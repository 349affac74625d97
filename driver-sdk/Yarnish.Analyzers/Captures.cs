using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Yarnish.Analyzers;

/// <summary>What a function takes along: the object around it, and the variables of the scopes around it. Local functions that it calls count as part of it.</summary>
internal sealed class Captures
{
    private readonly List<SyntaxNode> scopes = [];
    private readonly Dictionary<ISymbol, SyntaxNode> variables = new(SymbolEqualityComparer.Default);
    private readonly HashSet<ISymbol> members = new(SymbolEqualityComparer.Default);
    private readonly List<IOperation> bodies = [];

    private Captures()
    {
    }

    /// <summary>Captured variables and the place where each is first used.</summary>
    public IReadOnlyDictionary<ISymbol, SyntaxNode> Variables => variables;

    /// <summary>Where 'this' is first used; null when it is not.</summary>
    public SyntaxNode? This { get; private set; }

    /// <summary>Fields, properties and constructor parameters read through 'this'.</summary>
    public IReadOnlyCollection<ISymbol> Members => members;

    /// <summary>True when 'this' is used for more than reading its fields: what that reads is not known.</summary>
    public bool UsesWholeThis { get; private set; }

    /// <summary>Everything the function runs that is written in it or in local functions it calls.</summary>
    public IEnumerable<IOperation> Operations => bodies.SelectMany(body => body.DescendantsAndSelf());

    /// <summary>Follows a lambda or method group; null for other values.</summary>
    public static Captures? Of(IOperation value)
    {
        while (value is IConversionOperation conversion)
        {
            value = conversion.Operand;
        }

        if (value is IDelegateCreationOperation creation)
        {
            value = creation.Target;
        }

        var captures = new Captures();
        switch (value)
        {
            case IAnonymousFunctionOperation function:
                captures.Follow(function);
                return captures;
            case IMethodReferenceOperation { Method.MethodKind: MethodKind.LocalFunction } local:
                captures.FollowLocalFunction(local.Method, local);
                return captures;
            case IMethodReferenceOperation { Instance: { } instance }:
                captures.Visit(instance);
                captures.UsesWholeThis = true;
                return captures;
            default:
                return null;
        }
    }

    /// <summary>True when a variable is one of the scopes around the function.</summary>
    public bool IsCaptured(ISymbol variable) => variables.ContainsKey(variable);

    private void Follow(IOperation function)
    {
        scopes.Add(function.Syntax);
        bodies.Add(function);
        foreach (var operation in function.DescendantsAndSelf())
        {
            Visit(operation);
        }
    }

    private void FollowLocalFunction(IMethodSymbol method, IOperation use)
    {
        if (method.DeclaringSyntaxReferences.FirstOrDefault()?.GetSyntax() is not { } syntax || IsInside(syntax)
            || use.SemanticModel is not { } model || model.SyntaxTree != syntax.SyntaxTree || model.GetOperation(syntax) is not { } function)
        {
            return;
        }

        Follow(function);
    }

    private void Visit(IOperation operation)
    {
        switch (operation)
        {
            case IInstanceReferenceOperation { ReferenceKind: InstanceReferenceKind.ContainingTypeInstance }:
                This ??= operation.Syntax;
                if (operation.Parent is IFieldReferenceOperation or IPropertyReferenceOperation)
                {
                    members.Add(((IMemberReferenceOperation)operation.Parent).Member);
                }
                else
                {
                    UsesWholeThis = true;
                }

                break;
            case ILocalReferenceOperation { Local: { IsConst: false, IsStatic: false } local } when !IsInside(local):
                Add(local, operation);
                break;
            case IParameterReferenceOperation { Parameter: var parameter } when !IsInside(parameter):
                if (IsOfPrimaryConstructor(parameter) && !IsInConstructor(operation, parameter))
                {
                    This ??= operation.Syntax;
                    members.Add(parameter);
                }
                else
                {
                    Add(parameter, operation);
                }

                break;
            case IInvocationOperation { TargetMethod.MethodKind: MethodKind.LocalFunction } call:
                FollowLocalFunction(call.TargetMethod, call);
                break;
            case IMethodReferenceOperation { Method.MethodKind: MethodKind.LocalFunction } reference:
                FollowLocalFunction(reference.Method, reference);
                break;
        }
    }

    private void Add(ISymbol variable, IOperation operation)
    {
        if (!variables.ContainsKey(variable))
        {
            variables.Add(variable, operation.Syntax);
        }
    }

    private bool IsInside(ISymbol symbol) => symbol.DeclaringSyntaxReferences.Any(reference => scopes.Any(scope => scope.SyntaxTree == reference.SyntaxTree && scope.Span.Contains(reference.Span)));

    private bool IsInside(SyntaxNode syntax) => scopes.Any(scope => scope.SyntaxTree == syntax.SyntaxTree && scope.Span.Contains(syntax.Span));

    /// <summary>True for the parameters of <c>class Job(Config config)</c>: a function that uses one captures the object.</summary>
    internal static bool IsOfPrimaryConstructor(IParameterSymbol parameter) => parameter.ContainingSymbol is IMethodSymbol { MethodKind: MethodKind.Constructor } constructor
        && constructor.DeclaringSyntaxReferences.Any(reference => reference.GetSyntax() is Microsoft.CodeAnalysis.CSharp.Syntax.TypeDeclarationSyntax);

    // In initializers of fields the parameter is a parameter still.
    private static bool IsInConstructor(IOperation operation, IParameterSymbol parameter)
    {
        for (var at = operation; at is not null; at = at.Parent!)
        {
            if (at is IFieldInitializerOperation or IPropertyInitializerOperation)
            {
                return true;
            }
        }

        return operation.SemanticModel?.GetEnclosingSymbol(operation.Syntax.SpanStart) is IMethodSymbol method && SymbolEqualityComparer.Default.Equals(method, parameter.ContainingSymbol);
    }
}
